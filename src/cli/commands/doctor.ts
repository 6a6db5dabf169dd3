/**
 * `keyhouse doctor`: one line for each thing that can be wrong, with what was seen, and the one step that mends it. Works
 * with the server down as well: then it says why it cannot be reached and checks what is on this machine.
 *
 * With --key or --base-url it is for whoever calls models instead: from these two to the cause of a refused call.
 */
import type { Command } from 'commander'
import { version } from '#src/version.ts'
import { asksForCaller, type CallerOptions, diagnoseCaller } from '../doctor/caller.ts'
import type { Check } from '../doctor/check.ts'
import { checkAccessFile, checkDisk, checkNode } from '../doctor/machine.ts'
import { lookInside, nothingSeen } from '../doctor/platform.ts'
import { checkProxy } from '../doctor/proxy.ts'
import { reach } from '../doctor/reach.ts'
import { CliError } from '../exit.ts'
import { type FoundServer, findServer, type ServerOptions } from '../find-server.ts'
import { addServerOptions } from '../server-command.ts'
import { note, print, printJson, safeText, style, type Terminal } from '../terminal.ts'

export function define(command: Command, terminal: Terminal): void {
  addServerOptions(command)
    .option('--key <key>', 'the key of a call that fails (OPENAI_API_KEY); better left to the environment')
    .option('--base-url <url>', 'where that call goes (OPENAI_BASE_URL), as in http://127.0.0.1:8484/v1')
    .option('--model <name>', 'make the cheapest call of this model with that key')
    .option('--origin <origin>', 'as a browser on this page, such as https://app.example.com')
    .action((options: DoctorOptions) => run(options, terminal))
}

type DoctorOptions = ServerOptions & CallerOptions & { json?: true }

async function run(options: DoctorOptions, terminal: Terminal): Promise<void> {
  if (asksForCaller(options)) return report(await diagnoseCaller(options, terminal), options, terminal)
  const server = findServer(options, terminal)
  report(await diagnose(server, terminal), options, terminal, server.url)
}

function report(checks: readonly Check[], { json }: DoctorOptions, terminal: Terminal, url?: string): void {
  const wrong = checks.filter(({ outcome }) => outcome === 'wrong').length
  if (json) printJson(terminal, { object: 'doctor', ok: wrong === 0, version, url, data: checks })
  else for (const check of checks) print(terminal, describe(check, terminal))
  if (wrong > 0) throw new CliError('failed', wrong === 1 ? 'One thing is wrong.' : `${wrong} things are wrong.`)
  note(terminal, 'Nothing is wrong.')
}

async function diagnose(server: FoundServer, { now, env }: Terminal): Promise<Check[]> {
  const { checks, isKeyhouse } = await reach(server, now())
  // A key is sent to a Keyhouse only, not to whatever else listens there
  const inside = isKeyhouse ? await lookInside(server) : nothingSeen
  const disk = await checkDisk(server, inside.dataDir ?? server.dataDir)
  const proxy = checkProxy(new URL(server.url), env)
  return [checkNode(), ...checks, proxy, checkAccessFile(server.accessFile), ...inside.checks, disk]
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
