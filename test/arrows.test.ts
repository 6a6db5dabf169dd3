import { readdirSync, readFileSync } from 'node:fs'
import { posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

/**
 * Which folder may import which: the picture in ARCHITECTURE.md, as a table. Files directly in src/ (main, compose and
 * their neighbours), src/compose/ and src/cli/ may import everything.
 */
const arrows: Record<string, readonly string[]> = {
  contract: [],
  core: ['contract'],
  providers: ['contract'],
  observe: [],
  http: ['contract', 'observe'],
  inference: [],
  storage: ['core', 'contract'],
  gateway: ['storage', 'core', 'providers', 'contract', 'observe'],
  platform: ['storage', 'core', 'contract', 'observe'],
}

/** Node's own modules that do I/O: the rules of core and the promises of contract know none of them. */
const doesIo = /^node:(fs|http|https|child_process|dgram|tls|dns|worker_threads|cluster)/
const pure = ['contract', 'core']

const src = fileURLToPath(new URL('../src/', import.meta.url))

type Import = { from: string; file: string; to: string }

function importsOf(folder: string): Import[] {
  const files = readdirSync(src + folder, { recursive: true, encoding: 'utf8' })
  return files
    .filter(name => name.endsWith('.ts') && !name.endsWith('.test.ts'))
    .flatMap(name => {
      const text = readFileSync(`${src}${folder}/${name}`, 'utf8')
      return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(match => ({
        from: folder,
        file: `${folder}/${name}`,
        to: match[1] ?? '',
      }))
    })
}

const wrong = ({ from, to }: Import): boolean => {
  const folder = /^#(\w+)\//.exec(to)?.[1]
  if (folder) return folder !== from && !arrows[from]?.includes(folder)
  return (pure.includes(from) && doesIo.test(to)) || to.startsWith('../../')
}

test.each(Object.keys(arrows))('%s imports only what its arrows allow', folder => {
  expect(importsOf(folder).filter(wrong)).toEqual([])
})

test('every folder has its arrows', () => {
  const folders = readdirSync(src, { withFileTypes: true }).filter(entry => entry.isDirectory())
  expect(folders.map(({ name }) => name).sort()).toEqual([...Object.keys(arrows), 'cli', 'compose'].sort())
})

test('no file is in a circle of imports, types included', () => {
  const folders = [...Object.keys(arrows), 'cli', 'compose']
  const graph = Map.groupBy(folders.flatMap(importsOf), ({ file }) => file)
  const ends = new Set<string>()
  const circle = (file: string, path: readonly string[]): readonly string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (ends.has(file)) return undefined
    for (const { to } of graph.get(file) ?? []) {
      const found = circle(pathOf(file, to), [...path, file])
      if (found) return found
    }
    ends.add(file)
    return undefined
  }
  for (const file of graph.keys()) expect(circle(file, [])).toBeUndefined()
  expect(graph.size).toBeGreaterThan(100)
})

/** Below src/, as importsOf names files; of a package just its name. */
const pathOf = (file: string, to: string): string =>
  to.startsWith('#') ? to.slice(1).replace(/^src\//, '') : to.startsWith('.') ? posix.join(posix.dirname(file), to) : to
