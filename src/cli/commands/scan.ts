/**
 * `keyhouse scan [path]`: finds Keyhouse's and other providers' keys in a working tree, in what is staged, or in all of
 * history. Never prints a whole one. Exits with 0 when it found nothing, 1 when it found something, 2 when it could not scan.
 */
import { writeFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { CliError, messageOf, wrongUsage } from '../exit.ts'
import { findServer, type ServerOptions } from '../find-server.ts'
import { readBaseline, writeBaseline } from '../scan/baseline.ts'
import { maskSecrets } from '../scan/find-secrets.ts'
import { repositoryAt } from '../scan/git.ts'
import { type HookChange, installHook, uninstallHook } from '../scan/hook.ts'
import { checkLive } from '../scan/live.ts'
import { type Format, formats, reportOf, summaryOf } from '../scan/report.ts'
import { type ScanResult, scanHistory, scanStaged, scanTree } from '../scan/scan.ts'
import { note, print, printJson, type Terminal } from '../terminal.ts'

type ScanOptions = ServerOptions & {
  staged?: true
  history?: true
  installHook?: true
  uninstallHook?: true
  includeIgnored?: true
  checkLive?: true
  format?: Format
  json?: true
  output?: string
  baseline?: string
  updateBaseline?: true
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument('[path]', 'a folder or a file', '.')
    .option('--staged', 'what the next commit would add')
    .option('--history', 'every line that any commit added')
    .option('--include-ignored', 'also files that git ignores')
    .option('--check-live', 'ask the Keyhouse server whether its keys still work; nobody else is asked anything')
    .addOption(new Option('--format <format>', 'of the report (default human)').choices(formats))
    .option('--json', 'one JSON document on stdout, for machines')
    .option('--output <file>', 'write the report there')
    .option('--baseline <file>', 'known findings, as hashes: they are not reported')
    .option('--update-baseline', 'take all findings of this scan into the baseline')
    .option('--install-hook', 'scan what is staged before each commit')
    .option('--uninstall-hook', 'take that hook out again')
    .option('--url <url>', 'where the server is, for --check-live (KEYHOUSE_URL)')
    .option('--data-dir <folder>', "the server's data directory, for --check-live (KEYHOUSE_DATA_DIR)")
    .addHelpText('after', '\nA line that holds keyhouse-scan:allow is not reported.')
    .action((path: string, options: ScanOptions) => run(path, options, terminal).catch(throwMasked))
}

/** A sentence may name a file, and a file may be named after a key. */
function throwMasked(error: unknown): never {
  throw error instanceof CliError ? new CliError(error.reason, maskSecrets(error.message)) : error
}

async function run(path: string, options: ScanOptions, terminal: Terminal): Promise<void> {
  checkTogether(options)
  if (options.installHook || options.uninstallHook) return changeHook(path, options, terminal)
  const startedAt = terminal.now()
  const result = await checked(await scan(path, options, terminal), options, terminal)
  if (options.updateBaseline && options.baseline) return updateBaseline(options.baseline, result, terminal)
  report(result, options, terminal)
  for (const line of summaryOf(result, terminal.now() - startedAt)) note(terminal, line)
  const { length } = result.findings
  if (length > 0) throw new CliError('failed', length === 1 ? 'One thing was found.' : `${length} things were found.`)
  note(terminal, 'Nothing was found.')
}

function checkTogether(options: ScanOptions): void {
  const { staged, history, installHook, uninstallHook, includeIgnored, baseline, updateBaseline, json, format } =
    options
  if ([staged, history, installHook, uninstallHook].filter(Boolean).length > 1)
    throw wrongUsage('Give one of --staged, --history, --install-hook and --uninstall-hook.')
  if (includeIgnored && (staged || history)) throw wrongUsage('--include-ignored is for files, not for commits.')
  if (updateBaseline && !baseline) throw wrongUsage('Say where: --baseline FILE --update-baseline.')
  if (json && format !== undefined && format !== 'json') throw wrongUsage('Give either --json or --format.')
}

async function scan(path: string, options: ScanOptions, { env }: Terminal): Promise<ScanResult> {
  const { baseline, updateBaseline, staged, history, includeIgnored = false } = options
  const known = baseline && !updateBaseline ? readBaseline(baseline) : new Set<string>()
  const look = staged ? scanStaged : history ? scanHistory : scanTree
  return look({ path, env, known, includeIgnored })
}

async function checked(result: ScanResult, options: ScanOptions, terminal: Terminal): Promise<ScanResult> {
  if (!options.checkLive) return result
  const server = findServer(options, terminal)
  return { ...result, findings: await checkLive(server, result.findings, result.keyhouseKeys) }
}

function report(result: ScanResult, { format, json, output }: ScanOptions, terminal: Terminal): void {
  const form = json ? 'json' : (format ?? 'human')
  if (output === undefined) return void terminal.stdout.write(reportOf(result, form, terminal))
  const text = reportOf(result, form, { ...terminal, env: { NO_COLOR: '1' } })
  writeTo(output, () => writeFileSync(output, text))
}

function updateBaseline(file: string, { findings }: ScanResult, terminal: Terminal): void {
  writeTo(file, () => writeBaseline(file, findings))
  const known = `${maskSecrets(file)} knows ${findings.length} findings now.`
  note(terminal, `${known} Revoke what is still live all the same.`)
}

function writeTo(file: string, write: () => void): void {
  try {
    write()
  } catch (error) {
    throw wrongUsage(`'${file}' cannot be written: ${messageOf(error)}.`)
  }
}

const outcomes = {
  installed: 'Installed: each commit is scanned before it is made',
  added: 'Added before what the hook did already: each commit is scanned before it is made',
  current: 'It is there already',
  removed: 'Removed',
  absent: 'It is not there',
} as const satisfies Record<HookChange['outcome'], string>

async function changeHook(path: string, options: ScanOptions, terminal: Terminal): Promise<void> {
  const git = await repositoryAt({ folder: path, env: terminal.env })
  const given = options.baseline === undefined ? [] : ['--baseline', options.baseline]
  const change = await (options.installHook ? installHook(git, given) : uninstallHook(git))
  if (options.json) printJson(terminal, { object: 'scan.hook', ...change })
  else print(terminal, `${outcomes[change.outcome]} (${change.path}).`)
}
