/**
 * `keyhouse`: a table of commands, each loaded when it is asked for. A client of the server's API like any other; only
 * `start` brings the server itself along.
 *
 * Promises to scripts: with --json one document on stdout and nothing else there; exit codes as in exit.ts. A noun alone shows
 * what there is, and changes nothing: noun-alone.ts.
 */
import { Command, CommanderError } from 'commander'
import { CliError, exitCodes } from './exit.ts'
import { tellVerbs, withVerb } from './noun-alone.ts'
import { note, processTerminal, safeLines, style, type Terminal } from './terminal.ts'

type Definition = { define(command: Command, terminal: Terminal): void }
type CommandRow = { readonly name: string; readonly about: string; readonly load: () => Promise<Definition> }

const commands: readonly CommandRow[] = [
  { name: 'start', about: 'run the server', load: () => import('./commands/start.ts') },
  { name: 'keys', about: 'create, list, rotate and revoke API keys', load: () => import('./commands/keys.ts') },
  { name: 'service-accounts', about: 'identities for machines', load: () => import('./commands/service-accounts.ts') },
  { name: 'key-policy', about: 'what holds for every key', load: () => import('./commands/key-policy.ts') },
  { name: 'usage', about: 'calls, tokens and what they cost', load: () => import('./commands/usage.ts') },
  { name: 'calls', about: 'every call, and what was said in it', load: () => import('./commands/calls.ts') },
  { name: 'models', about: 'list, pull and alias models', load: () => import('./commands/models.ts') },
  { name: 'prices', about: 'what models cost, known prices, margins', load: () => import('./commands/prices.ts') },
  { name: 'providers', about: 'connect OpenAI and compatible hosts', load: () => import('./commands/providers.ts') },
  { name: 'projects', about: 'list, create and archive projects', load: () => import('./commands/projects.ts') },
  { name: 'users', about: 'the people of the organization', load: () => import('./commands/users.ts') },
  { name: 'invites', about: 'invite people', load: () => import('./commands/invites.ts') },
  { name: 'groups', about: 'people who are given things together', load: () => import('./commands/groups.ts') },
  { name: 'roles', about: 'sets of permissions, and who has them', load: () => import('./commands/roles.ts') },
  { name: 'credits', about: 'credit: what is left, grants, adding some', load: () => import('./commands/credits.ts') },
  { name: 'limits', about: 'how much may be asked of each model', load: () => import('./commands/limits.ts') },
  {
    name: 'model-permissions',
    about: 'which models a project may call',
    load: () => import('./commands/model-permissions.ts'),
  },
  {
    name: 'hosted-tools',
    about: "which of providers' own tools a project may use",
    load: () => import('./commands/hosted-tools.ts'),
  },
  { name: 'data-retention', about: 'what is kept of calls', load: () => import('./commands/data-retention.ts') },
  { name: 'spend-limit', about: 'the most that may be spent a month', load: () => import('./commands/spend-limit.ts') },
  { name: 'spend-alerts', about: 'who is told what was spent', load: () => import('./commands/spend-alerts.ts') },
  { name: 'certificates', about: 'mutual TLS for calls', load: () => import('./commands/certificates.ts') },
  { name: 'audit', about: 'who changed what, and is the log whole', load: () => import('./commands/audit.ts') },
  { name: 'ledger', about: 'does the money add up', load: () => import('./commands/ledger.ts') },
  { name: 'jobs', about: 'what runs by itself, and how it went', load: () => import('./commands/jobs.ts') },
  { name: 'mail', about: 'what was sent, and what waits', load: () => import('./commands/mail.ts') },
  { name: 'doctor', about: 'find what is wrong, and what mends it', load: () => import('./commands/doctor.ts') },
  { name: 'scan', about: 'find leaked keys in files and in git', load: () => import('./commands/scan.ts') },
  { name: 'backup', about: 'save everything to a file, while running', load: () => import('./commands/backup.ts') },
  { name: 'restore', about: 'replace everything by a backup', load: () => import('./commands/restore.ts') },
  { name: 'config', about: 'every setting, and where it comes from', load: () => import('./commands/config.ts') },
  { name: 'version', about: 'the version of Keyhouse and of Node', load: () => import('./commands/version.ts') },
]

/** @param argv without node and the script. Sets process.exitCode. */
export async function run(argv: readonly string[], terminal: Terminal = processTerminal()): Promise<void> {
  process.exitCode = await exitCodeOf(argv, terminal)
}

/** Runs one command line to its end. @throws what nobody expected: a bug, with its stack */
export async function exitCodeOf(argv: readonly string[], terminal: Terminal): Promise<number> {
  try {
    const words = aliased(argv)
    const program = await defineProgram(words, terminal)
    await program.parseAsync(withVerb(program, words), { from: 'user' })
    return exitCodes.ok
  } catch (error) {
    // commander has said it already, and help that was asked for is no failure
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.wrongUsage
    if (!(error instanceof CliError)) throw error
    explain(error, terminal)
    return exitCodes[error.reason]
  }
}

/** Everything that there is to be asked for. */
export const wholeProgram = (terminal: Terminal): Promise<Command> =>
  defineProgram(
    commands.map(({ name }) => name),
    terminal,
  )

async function defineProgram(argv: readonly string[], terminal: Terminal): Promise<Command> {
  const program = new Command('keyhouse')
    .description('Keys, projects, limits and prepaid billing in front of every model.')
    .exitOverride()
    .option('-V, --version', 'the version of Keyhouse and of Node')
    // An option belongs to the command that it stands behind, though a command above has one of that name
    .enablePositionalOptions()
    .configureOutput({
      writeOut: text => terminal.stdout.write(text),
      // It repeats what was typed, which somebody may have pasted
      writeErr: text => terminal.stderr.write(safeLines(text)),
    })
    .showHelpAfterError('`--help` after any command says more.')
  for (const { name, about, load } of commands) {
    const command = program.command(name).description(about)
    // The others are here by name only, for the list that --help shows
    if (argv.includes(name)) (await load()).define(command, terminal)
    tellVerbs(command)
  }
  return program
}

const aliased = (argv: readonly string[]): string[] =>
  /^(-V|-v|--version)$/.test(argv[0] ?? '') ? ['version'] : [...argv]

function explain({ message, requestId }: CliError, terminal: Terminal): void {
  const reference = requestId === undefined || message.includes(requestId) ? '' : ` [${requestId}]`
  note(terminal, `${style(terminal, 'red', 'error:', terminal.stderr)} ${safeLines(message)}${reference}`)
}
