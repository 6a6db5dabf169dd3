#!/usr/bin/env node
// with-node [NODE FLAGS] FILE [ARGUMENTS]: runs a TypeScript file under a Node that can, whichever Node started this.
// A process of its own even where our Node would do: the file sees the same argv, flags and import.meta either way.
'use strict'

const { handOver } = require('./hand-over.cjs')
const { whenNpmIsGone } = require('./npm-gone.cjs')
const { requireNode } = require('./pick-node.cjs')

const args = process.argv.slice(2)
if (args.length === 0) {
  console.error('usage: with-node [NODE FLAGS] FILE [ARGUMENTS]')
  process.exit(2)
}
const node = requireNode()
whenNpmIsGone(() => process.kill(process.pid, 'SIGTERM'))
handOver(node, args)
