/** Questions to the person at the terminal. Loaded only when one is asked; drawn on stderr. */
import { CliError, wrongUsage } from './exit.ts'
import { canAsk, type Terminal } from './terminal.ts'

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

/** Before what cannot be undone: returns when --yes was given, or the person said so. */
export async function confirm(
  terminal: Terminal,
  { yes }: { readonly yes?: true },
  { what, question }: { readonly what: string; readonly question: string },
): Promise<void> {
  if (yes) return
  if (!canAsk(terminal)) throw wrongUsage(`${what} Add --yes to do it without being asked.`)
  if (!(await askYes(terminal, question))) throw new CliError('failed', 'Nothing was changed.')
}

const cancelled = (): CliError => new CliError('failed', 'Cancelled. Nothing was changed.')
