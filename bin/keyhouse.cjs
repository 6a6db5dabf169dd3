#!/usr/bin/env node
// The launcher. Any Node from 18 on can run it; it goes on in this process when its Node can run TypeScript, and hands
// over to one that can otherwise. What `keyhouse` does is in src/cli/.
'use strict'

const { join } = require('node:path')
const { pathToFileURL } = require('node:url')
const { handOver } = require('./hand-over.cjs')
const { whenNpmIsGone } = require('./npm-gone.cjs')
const { requireNode, runsKeyhouse } = require('./pick-node.cjs')

const args = process.argv.slice(2)
const node = requireNode()
whenNpmIsGone(() => process.kill(process.pid, 'SIGTERM'))
if (runsKeyhouse(process.versions.node)) runHere()
else handOver(node, [__filename, ...args])

async function runHere() {
  try {
    const { run } = await import(pathToFileURL(join(__dirname, '..', 'src', 'cli', 'keyhouse.ts')).href)
    await run(args)
  } catch (error) {
    // What a user can mend, the commands say themselves; what arrives here is our bug, and we need its stack.
    console.error(error)
    process.exitCode = 1
  }
}
