/** Questions to the person at the terminal. Loaded only when one is asked; drawn on stderr. */
import { CliError } from './exit.ts'
import type { Terminal } from './terminal.ts'

/** Something secret: shown as dots, kept in no history. May be empty. */
export async function askSecret(terminal: Terminal, message: string): Promise<string> {
  const { isCancel, password } = await import('@clack/prompts')
  const answer = await password({ message, input: terminal.stdin, output: terminal.stderr })
  if (isCancel(answer)) throw cancelled()
  return (answer ?? '').trim()
}

export async function askYes(terminal: Terminal, message: string): Promise<boolean> {
  const { confirm, isCancel } = await import('@clack/prompts')
  const answer = await confirm({ message, initialValue: false, input: terminal.stdin, output: terminal.stderr })
  if (isCancel(answer)) throw cancelled()
  return answer
}

const cancelled = (): CliError => new CliError('failed', 'Cancelled. Nothing was changed.')
