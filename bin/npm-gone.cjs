// npm and npx start us through a shell, and keep to themselves most of the signals that end them: `kill` of npx alone, or
// kill -9 of npm, would leave a server that nobody holds any more. So what npm started looks whether npm is still there.
'use strict'

const { spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')

const lookEveryMs = 500
const psTimeoutMs = 1_000

/** Calls `onGone` once, when the npm (pnpm, yarn) that started this process has ended. Does nothing where none did. */
function whenNpmIsGone(onGone) {
  const shell = process.ppid
  if (process.env.npm_lifecycle_event === undefined || shell === 1) return
  const npm = npmAbove(shell)
  const timer = setInterval(() => {
    if (process.ppid === shell && isAlive(npm)) return
    clearInterval(timer)
    onGone()
  }, lookEveryMs)
  timer.unref()
}

/** Some shells put us into their own place: then npm itself is our parent. */
function npmAbove(parent) {
  const { name, ppid } = process.platform === 'linux' ? lookIntoProc(parent) : askPs(parent)
  return /^(.*\/)?(sh|dash|bash)$/.test(name) && ppid > 1 ? ppid : parent
}

function lookIntoProc(pid) {
  try {
    // proc(5): "pid (name) state ppid …"; the name may contain spaces and brackets
    const [, name = '', rest = ''] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, 'utf8')) ?? []
    return { name, ppid: Number(rest.split(' ')[1]) }
  } catch {
    return { name: '', ppid: 0 }
  }
}

function askPs(pid) {
  const ps = spawnSync('ps', ['-o', 'ppid=,comm=', '-p', String(pid)], { encoding: 'utf8', timeout: psTimeoutMs })
  const [ppid, name = ''] = (ps.stdout || '').trim().split(/\s+/)
  return { name, ppid: Number(ppid) }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process is one too
    return error.code === 'EPERM'
  }
}

module.exports = { whenNpmIsGone }
