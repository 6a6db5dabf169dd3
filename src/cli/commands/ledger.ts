/** `keyhouse ledger`: does the money add up. */
import { Buffer } from 'node:buffer'
import { buffer } from 'node:stream/consumers'
import type { Command } from 'commander'
import { count, dateTime, readUsd, usd } from '../amounts.ts'
import type { Client } from '../client.ts'
import { CliError } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { LedgerVerification } from '../wire.ts'

export function define(command: Command, terminal: Terminal): void {
  const verify = command
    .command('verify')
    .description('check ledger, grants, leases and spend windows; exits with 1 when something does not add up')
    .option('--full', 'from the first transaction on, which may take minutes; else what is new')
  onServer(verify, terminal, verifyLedger)
}

type Finding = LedgerVerification['findings'][number]

const amount = (text: string | null): string => (text === null ? '' : usd(readUsd(text)))

const columns: readonly Column<Finding>[] = [
  { title: 'rule', cell: ({ rule }) => rule },
  { title: 'what', cell: ({ subject }) => subject },
  { title: 'expected', align: 'right', cell: ({ expected_usd }) => amount(expected_usd) },
  { title: 'found', align: 'right', cell: ({ found_usd }) => amount(found_usd) },
  { title: 'since (UTC)', cell: ({ found_at }) => dateTime(found_at) },
]

const verifyLedger: Run<{ full?: true }> = async ({ client, terminal, options }) => {
  const found = await verified(client, options.full === true)
  if (options.json) printJson(terminal, found)
  else if (found.adds_up) print(terminal, 'Everything adds up.')
  else print(terminal, table(terminal, columns, found.findings))
  if (!found.adds_up) throw broken(found.findings.length)
}

/** As a stream: a full one may take longer than an answer may. */
async function verified(client: Client, full: boolean): Promise<LedgerVerification> {
  const pieces = await client.stream('POST', '/v1/platform/ledger/verification', { full })
  const text = Buffer.from(await buffer(pieces)).toString('utf8')
  // The server's contract gives the shape; see wire.ts.
  return JSON.parse(text) as LedgerVerification
}

const broken = (findings: number): CliError =>
  new CliError(
    'failed',
    `${count(findings)} things do not add up. Somebody changed the database behind the server, or this is a bug: keep this ` +
      'output, and compare with a backup from before. docs/jobs.md says what each rule means.',
  )
