// Runs another Node in our place: same terminal, same signals, same exit. Whatever ends this process, even kill -9,
// ends the other one too.
'use strict'

const { spawn, spawnSync } = require('node:child_process')
const { readFileSync } = require('node:fs')
const { constants } = require('node:os')

const forwardedSignals = ['SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGHUP', 'SIGUSR2']
const terminalSignals = ['SIGINT', 'SIGQUIT']
const ownDeathTimeoutMs = 1_000
const psTimeoutMs = 1_000

// Reads a pipe whose other end only we hold, so the read ends exactly when we do; no process id has to be polled, and
// nothing beyond a POSIX shell is needed. It asks politely, because the server drains on SIGTERM, and insists a minute later.
const lifelineScript = `
  trap '' HUP INT QUIT TERM
  read -r released && exit
  kill -TERM "$1"
  seconds=0
  while kill -0 "$1" && [ $seconds -lt 60 ]; do
    sleep 1
    seconds=$((seconds + 1))
  done
  kill -KILL "$1"`

/** Starts `node ...args` and never returns to the caller's own work: this process lives and dies with the child. */
function handOver(node, args) {
  let child
  // Before the spawn: a signal that came between would end us and leave the child.
  for (const signal of forwardedSignals) process.on(signal, () => reachesGroup(signal) || child.kill(signal))
  child = spawn(node, args, { stdio: 'inherit' })
  child.on('error', error => {
    console.error(`Cannot run ${node}: ${error.message}`)
    process.exit(1)
  })
  if (child.pid === undefined) return
  const lifeline = holdLifeline(child.pid)
  child.on('exit', (code, signal) => {
    lifeline.kill('SIGKILL')
    endAs(code, signal)
  })
}

/** In a session of its own, so that Ctrl-C and a closing terminal pass it by. */
function holdLifeline(pid) {
  const lifeline = spawn('/bin/sh', ['-c', lifelineScript, 'keyhouse-lifeline', String(pid)], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  })
  lifeline.on('error', error => console.error(`Cannot run /bin/sh: ${error.message}`))
  return lifeline
}

/** Ctrl-C reaches the whole foreground group, the child too: passing it on would tell the child "twice: stop at once". */
function reachesGroup(signal) {
  if (!terminalSignals.includes(signal)) return false
  const { group, foreground } = process.platform === 'linux' ? groupsFromProc() : groupsFromPs()
  return group === foreground
}

function groupsFromProc() {
  // proc(5): "pid (name) state ppid pgrp session tty_nr tpgid …"; the name may contain spaces and brackets
  const fields = readFileSync('/proc/self/stat', 'utf8').split(')').pop().trim().split(' ')
  return { group: fields[2], foreground: fields[5] }
}

function groupsFromPs() {
  const ps = spawnSync('ps', ['-o', 'pgid=,tpgid=', '-p', String(process.pid)], {
    encoding: 'utf8',
    timeout: psTimeoutMs,
  })
  const [group, foreground] = (ps.stdout || '').trim().split(/\s+/)
  return { group: group || 'unknown', foreground }
}

/** Dies as the child died, so that shells and process managers see the truth. */
function endAs(code, signal) {
  if (signal === null) process.exit(code)
  for (const forwarded of forwardedSignals) process.removeAllListeners(forwarded)
  process.kill(process.pid, signal)
  // Node ignores some signals (SIGPIPE): then say it as shells do.
  setTimeout(() => process.exit(128 + constants.signals[signal]), ownDeathTimeoutMs)
}

module.exports = { handOver }
