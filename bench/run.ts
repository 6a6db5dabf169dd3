/**
 * `npm run bench [-- NAME…] [-- --quick] [-- --events=N]`: runs the benches, prints what they found, and keeps it in
 * bench/results.md. `--quick` is a smoke run: everything happens once and briefly, and nothing is kept. `--events` is how many
 * usage events the bench "usage" makes: 20000000 is the size that its aims are for, and takes 25 GB of disk for a while.
 */
import { loadavg } from 'node:os'
import { auth } from './auth.ts'
import { limits } from './limits.ts'
import { money } from './money.ts'
import { scan } from './scan.ts'
import { startup } from './startup.ts'
import { stream } from './stream.ts'
import type { Bench } from './support/bench.ts'
import { sectionOf, writeResults } from './support/report.ts'
import { prepareTools } from './support/tools.ts'
import { unary } from './unary.ts'
import { usage } from './usage.ts'

const benches: readonly Bench[] = [unary, stream, startup, auth, limits, money, scan, usage]
const names = benches.map(({ name }) => name)
const words = process.argv.slice(2)
const quick = words.includes('--quick')
const [, counted] = words.map(word => /^--events=(\d+)$/.exec(word)).find(match => match !== null) ?? []
const events = counted === undefined ? undefined : Number(counted)
const chosen = words.filter(word => word !== '--quick' && !word.startsWith('--events='))
if (words.includes('--help')) {
  end(0, `npm run bench -- [NAME…] [--quick] [--events=N]\nThere are: ${names.join(', ')}.`)
}
const unknown = chosen.filter(name => !names.includes(name))

if (unknown.length > 0) end(2, `There is no bench ${unknown.join(', ')}. There are: ${names.join(', ')}.`)
if (process.platform !== 'linux') end(1, 'The benches read CPU time and memory from /proc, so they need Linux.')
// An exit runs the 'exit' listeners, which end what the benches started; a signal's own way out does not
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => process.exit(130))

const { tools, missing } = prepareTools()
const sections = new Map<string, string>()
for (const bench of benches) {
  if (chosen.length > 0 && !chosen.includes(bench.name)) continue
  const [startedAt, [loadBefore = 0]] = [new Date(), loadavg()]
  const findings = await bench.run({ quick, events, tools, progress: line => console.error(`${bench.name}: ${line}`) })
  const section = sectionOf(bench, findings, { startedAt, loadBefore, tools, missing })
  console.log(`\n${section}`)
  sections.set(bench.name, section)
}
if (!quick) writeResults(names, sections)

function end(code: number, message: string): never {
  console.error(message)
  process.exit(code)
}
