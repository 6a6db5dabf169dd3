/** The `keyhouse` command, run to its end. */
import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const launcher = fileURLToPath(new URL('../../bin/keyhouse.cjs', import.meta.url))
const commandTimeoutMs = 20_000

export type CommandEnd = { readonly code: number | null; readonly output: string; readonly tookMs: number }

/** @param env replaces the environment, but for PATH and HOME */
export function runCommand(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<CommandEnd> {
  const startedAtMs = performance.now()
  const options = {
    timeout: commandTimeoutMs,
    env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
  }
  return new Promise(resolve => {
    const child = execFile(process.execPath, [launcher, ...args], options, (_error, stdout, stderr) => {
      resolve({ code: child.exitCode, output: stdout + stderr, tookMs: performance.now() - startedAtMs })
    })
  })
}
