/**
 * Where a command reads and writes. What the command was asked for goes to stdout, and only that; progress, prompts and
 * warnings go to stderr, so that `keyhouse … --json | jq` always gets one clean document.
 */
import { homedir } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import { styleText } from 'node:util'
import { exitCodes } from './exit.ts'

type MaybeTty = { readonly isTTY?: boolean }

export type Terminal = {
  readonly env: NodeJS.ProcessEnv
  readonly platform: NodeJS.Platform
  readonly home: string
  readonly stdin: Readable & MaybeTty
  readonly stdout: Writable & MaybeTty
  readonly stderr: Writable & MaybeTty & { readonly columns?: number }
  /** Milliseconds since 1970. */
  readonly now: () => number
}

export function processTerminal(): Terminal {
  const { env, platform, stdin, stdout, stderr } = process
  stdout.on('error', onLostOutput)
  // Nobody hears it, and there is nowhere to say so: the exit code has to do
  stderr.on('error', () => undefined)
  return { env, platform, home: homedir(), stdin, stdout, stderr, now: Date.now }
}

/** `keyhouse … | head` closes the pipe early: what is left to say is said to nobody. Whatever else stops it, a full disk, is a failure. */
function onLostOutput(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') return
  process.stderr.write(`error: The output could not be written: ${error.message}.\n`)
  process.exit(exitCodes.failed)
}

export const print = ({ stdout }: Terminal, text: string): boolean => stdout.write(`${text}\n`)
export const printJson = ({ stdout }: Terminal, value: unknown): boolean =>
  stdout.write(`${JSON.stringify(value, null, 2)}\n`)
export const note = ({ stderr }: Terminal, text: string): boolean => stderr.write(`${text}\n`)

/** May the user be asked something? Prompts are drawn on stderr, so that counts and not stdout. */
export const canAsk = ({ stdin, stderr }: Terminal): boolean => stdin.isTTY === true && stderr.isTTY === true

type Format = 'bold' | 'dim' | 'red' | 'green' | 'yellow'

/** Plain text where the stream (stdout, unless said) is no terminal or NO_COLOR is set. */
export function style(
  { env, stdout }: Terminal,
  format: Format,
  text: string,
  stream: Writable & MaybeTty = stdout,
): string {
  const coloured = stream.isTTY === true && !env.NO_COLOR && env.TERM !== 'dumb'
  return coloured ? styleText(format, text, { validateStream: false }) : text
}

/**
 * Text that others wrote (names of keys, answers of servers), made safe to show: without the control characters by which
 * it could move the cursor or rewrite what stands above it.
 */
export const safeText = (text: string): string => withoutControls(text).trim()

/** The same for a text of several lines. */
export const safeLines = (text: string): string => text.split('\n').map(withoutControls).join('\n')

const withoutControls = (text: string): string => text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]+/gu, ' ')
