import type { Command } from 'commander'
import { version } from '#src/version.ts'
import { print, printJson, type Terminal } from '../terminal.ts'

export function define(command: Command, terminal: Terminal): void {
  command.option('--json', 'one JSON document on stdout, for machines').action(({ json }: { json?: true }) => {
    const { arch, platform, versions } = process
    if (json) printJson(terminal, { version, node_version: versions.node, platform: `${platform}-${arch}` })
    else print(terminal, `keyhouse ${version} (node ${versions.node}, ${platform}-${arch})`)
  })
}
