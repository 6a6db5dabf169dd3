/** The two programs from Debian that the benches compare and load with: looked for, installed where that is allowed. */
import { spawnSync } from 'node:child_process'

const rows = [
  {
    name: 'nginx',
    probe: ['-v'],
    without: 'the comparison with nginx is left out, and a Node process is the upstream',
  },
  { name: 'wrk', probe: ['-v'], without: 'a Node process makes the load, at a higher cost' },
] as const

type ToolName = (typeof rows)[number]['name']
/** The version of each tool that is here. */
export type Tools = { readonly [Name in ToolName]?: string }
export type MissingTool = { readonly name: ToolName; readonly without: string }

const aptTimeoutMs = 300_000

/** Installs what it can. @returns what there is, and what is missing all the same */
export function prepareTools(): { tools: Tools; missing: readonly MissingTool[] } {
  const absent = rows.filter(row => versionOf(row) === undefined)
  if (absent.length > 0) aptInstall(absent.map(({ name }) => name))
  const tools = Object.fromEntries(rows.flatMap(row => [[row.name, versionOf(row)]]).filter(([, version]) => version))
  return { tools, missing: rows.filter(({ name }) => !(name in tools)) }
}

function versionOf({ name, probe }: (typeof rows)[number]): string | undefined {
  // Both write their version to standard error or output, and wrk then exits with 1
  const { error, stdout, stderr } = spawnSync(name, probe, { encoding: 'utf8', timeout: 10_000 })
  return error ? undefined : (/\d+\.\d+[.\d]*/.exec(stderr + stdout)?.[0] ?? 'unknown')
}

function aptInstall(packages: readonly string[]): void {
  if (process.getuid?.() !== 0 || spawnSync('apt-get', ['--version']).error) return
  console.log(`Installing ${packages.join(' and ')} with apt…`)
  for (const args of [
    ['update', '-q'],
    ['install', '-qy', '--no-install-recommends', ...packages],
  ]) {
    spawnSync('apt-get', args, {
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: aptTimeoutMs,
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    })
  }
}
