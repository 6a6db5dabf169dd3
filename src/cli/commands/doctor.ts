/**
 * `keyhouse doctor`: one line for each thing that can be wrong, with what was seen, and the one step that mends it. Works
 * with the server down as well: then it says why it cannot be reached and checks what is on this machine.
 */
import type { Command } from 'commander'
import { version } from '#src/version.ts'
import type { Check } from '../doctor/check.ts'
import { checkAccessFile, checkDisk, checkNode } from '../doctor/machine.ts'
import { lookInside, nothingSeen } from '../doctor/platform.ts'
import { reach } from '../doctor/reach.ts'
import { CliError } from '../exit.ts'
import { type FoundServer, findServer, type ServerOptions } from '../find-server.ts'
import { addServerOptions } from '../server-command.ts'
import { note, print, printJson, safeText, style, type Terminal } from '../terminal.ts'

export function define(command: Command, terminal: Terminal): void {
  addServerOptions(command).action(async (options: ServerOptions & { json?: true }) => {
    const server = findServer(options, terminal)
    const checks = await diagnose(server, terminal.now())
    const wrong = checks.filter(({ outcome }) => outcome === 'wrong').length
    if (options.json) printJson(terminal, { object: 'doctor', ok: wrong === 0, version, url: server.url, data: checks })
    else for (const check of checks) print(terminal, describe(check, terminal))
    if (wrong > 0) throw new CliError('failed', wrong === 1 ? 'One thing is wrong.' : `${wrong} things are wrong.`)
    note(terminal, 'Nothing is wrong.')
  })
}

async function diagnose(server: FoundServer, nowMs: number): Promise<Check[]> {
  const { checks, isKeyhouse } = await reach(server, nowMs)
  // A key is sent to a Keyhouse only, not to whatever else listens there
  const inside = isKeyhouse ? await lookInside(server) : nothingSeen
  const disk = await checkDisk(server, inside.dataDir ?? server.dataDir)
  return [checkNode(), ...checks, checkAccessFile(server.accessFile), ...inside.checks, disk]
}

const marks = {
  ok: ['green', '✓'],
  warning: ['yellow', '!'],
  wrong: ['red', '✗'],
  unknown: ['dim', '?'],
} as const satisfies Record<Check['outcome'], unknown>

const nameWidth = 12

function describe({ name, outcome, proof, mend }: Check, terminal: Terminal): string {
  const [colour, mark] = marks[outcome]
  const line = `${style(terminal, colour, mark)} ${name.padEnd(nameWidth)} ${safeText(proof)}`
  return mend === null ? line : `${line}\n  ${' '.repeat(nameWidth)} ${style(terminal, 'bold', '→')} ${safeText(mend)}`
}
