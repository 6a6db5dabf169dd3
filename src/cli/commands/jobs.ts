/** `keyhouse jobs`: what runs by itself, and running it now. */
import type { Command } from 'commander'
import { ago, dateTime } from '../amounts.ts'
import { CliError } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { path, show, showList } from '../show.ts'
import type { Column } from '../table.ts'
import { printJson } from '../terminal.ts'
import type { Job, JobRun } from '../wire.ts'

export function define(command: Command, terminal: Parameters<typeof onServer>[1]): void {
  onServer(command.command('list').description('every job, and how it went'), terminal, listJobs)
  const run = command.command('run').description('run a job now; exits with 1 when it failed').argument('<name>')
  onServer(run, terminal, runJob)
}

const columns = (nowMs: number): readonly Column<Job>[] => [
  { title: 'job', cell: ({ name }) => name },
  { title: 'last run', cell: ({ last_run }) => ago(last_run?.started_at ?? null, nowMs) },
  { title: 'took', align: 'right', cell: ({ last_run }) => (last_run === null ? '' : `${last_run.duration_ms} ms`) },
  { title: 'outcome', cell: ({ last_run }) => last_run?.outcome ?? '' },
  { title: 'next (UTC)', cell: ({ next_run_at }) => dateTime(next_run_at) },
  { title: 'report', cell: ({ last_run }) => (last_run?.report ?? '').slice(0, reportShown) },
]
const reportShown = 80

const listJobs: Run<object> = async context => {
  const { data } = await context.client.get<{ data: Job[] }>('/v1/platform/jobs')
  showList(context, data, { columns: columns(context.terminal.now()), none: 'There are no jobs.' })
}

const runJob: Run<object> = async context => {
  const [name = ''] = context.words
  const answer = await context.client.post<JobRun>(path`/v1/platform/jobs/${name}/run`, {})
  if (answer.run?.outcome === 'failed') {
    if (context.options.json) printJson(context.terminal, answer)
    throw new CliError('failed', `${name} failed: ${answer.run.report}`)
  }
  const sentence = answer.run
    ? `${name}: ${answer.run.report} (${answer.run.duration_ms} ms).`
    : `${name} goes on; \`keyhouse jobs list\` shows its end.`
  show(context, answer, sentence)
}
