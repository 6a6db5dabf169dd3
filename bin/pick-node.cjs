// What must be there before Keyhouse can run: its packages, and a Node that runs TypeScript by stripping the types.
// Any Node from 18 on can load this file. It only looks: it downloads nothing and changes nothing.
'use strict'

const { spawnSync } = require('node:child_process')
const { accessSync, constants, existsSync } = require('node:fs')
const { delimiter, dirname, join } = require('node:path')

const packageDirectory = dirname(__dirname)
const probeTimeoutMs = 5_000
const pathEntriesMax = 64

/** 22.18 strips types without a flag, but undici 8 needs 22.19; 23 is past its end of life. */
function runsKeyhouse(version) {
  const [major, minor] = version.replace(/^v/, '').split('.').map(Number)
  return major >= 24 || (major === 22 && minor >= 19)
}

/** The path of a Node that can run us, or undefined. The running one is best: it is what the user chose. */
function pickNode() {
  if (runsKeyhouse(process.versions.node)) return process.execPath
  return [bundledNode(), ...nodesOnPath()].find(node => node !== undefined && runsKeyhouse(versionOf(node)))
}

/** The Node that npm installed beside us: an optional dependency that exists for Linux only. */
function bundledNode() {
  try {
    return join(dirname(require.resolve(`node-${process.platform}-${process.arch}/package.json`)), 'bin', 'node')
  } catch {
    return undefined
  }
}

function nodesOnPath() {
  const directories = (process.env.PATH || '').split(delimiter).filter(Boolean).slice(0, pathEntriesMax)
  return directories.map(directory => join(directory, 'node')).filter(isExecutable)
}

function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Asks the binary itself: one that cannot start here (another C library, a broken shim) answers '0.0.0'. */
function versionOf(node) {
  const probe = spawnSync(node, ['--version'], { encoding: 'utf8', timeout: probeTimeoutMs })
  return probe.status === 0 ? probe.stdout.trim() : '0.0.0'
}

/** Like pickNode, but ends the process with a sentence that says what to do when something is missing. */
function requireNode() {
  const missing = missingPackage()
  if (missing)
    fail(`The package "${missing}" is not installed. Run "npm install" in ${packageDirectory} and try again.`)
  return pickNode() || fail(nodeMissing())
}

/** Looks for the folders that Node would look into: ours, or our parent's when we are installed as a dependency. */
function missingPackage() {
  const { dependencies } = require('../package.json')
  const isThere = name => (require.resolve.paths(name) || []).some(folder => existsSync(join(folder, name)))
  return Object.keys(dependencies || {}).find(name => !isThere(name))
}

function nodeMissing() {
  return [
    `Keyhouse needs Node 22.19 or newer, best 24; this is ${process.version}, and no newer one was found.`,
    process.platform === 'linux'
      ? `Run "npm install --include=optional" in ${packageDirectory}: it brings the right one along. Or install Node 24.`
      : 'Install Node 24, make sure that "node --version" shows it, and try again.',
  ].join('\n')
}

function fail(message) {
  console.error(message)
  process.exit(1)
}

module.exports = { requireNode, runsKeyhouse }
