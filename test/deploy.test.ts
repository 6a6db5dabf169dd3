/** What deploy/ and the page about many nodes name must exist: settings, paths, files; and a node must be given the time that it takes. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { envName, settingNames, settings } from '../src/config.ts'
import { operationRoutes } from '../src/http/operations.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const deployFiles = globSync('deploy/**/*', { cwd: root, withFileTypes: true })
  .filter(entry => entry.isFile())
  .map(entry => join(entry.parentPath, entry.name).slice(root.length))
const files = [...deployFiles, 'docs/scale.md']

const settleMs = 30_000

const known = new Set(
  settingNames.flatMap(name => {
    const row: { env?: string } = settings[name]
    return [envName(name), ...(row.env ? [row.env] : [])]
  }),
)

const found = (text: string, pattern: RegExp): string[] =>
  [...text.matchAll(pattern)].map(([all, group]) => group ?? all)

test('the files are looked at', () => {
  expect(files).toEqual(expect.arrayContaining(['deploy/compose.yaml', 'deploy/helm/keyhouse/values.yaml']))
  expect(files.flatMap(file => found(read(file), /\bKEYHOUSE_[A-Z_]+\b/g)).length).toBeGreaterThan(15)
})

describe.each(files)('%s', file => {
  test('names only settings that exist', () => {
    const named = found(read(file), /\b(?:KEYHOUSE_[A-Z0-9_]+|DATABASE_URL|REDIS_URL)\b/g)
    expect(named.filter(name => !known.has(name))).toEqual([])
  })

  test('names only paths that exist', () => {
    const routes = operationRoutes({
      unready: async () => [],
      metrics: async () => ({ text: '', contentType: '' }),
      metricsToken: '',
    })
    const paths = new Set<string>(routes.map(({ path }) => path))
    expect(found(read(file), /\/health\/\w+/g).filter(path => !paths.has(path))).toEqual([])
  })
})

test('the lockfile has the packages of every platform, so that an install changes nothing and works on each', () => {
  const { packages } = JSON.parse(read('package-lock.json'))
  const missing = Object.entries<{ optionalDependencies?: object }>(packages).flatMap(
    ([place, { optionalDependencies }]) =>
      Object.keys(optionalDependencies ?? {}).filter(
        name =>
          packages[`node_modules/${name}`] === undefined && packages[`${place}/node_modules/${name}`] === undefined,
      ),
  )
  expect(missing).toEqual([])
  expect(read('package-lock.json')).not.toContain('"resolved"')
})

test('the image gets files that exist, and all that the server is made of', () => {
  const copied = found(read('deploy/Dockerfile'), /^COPY (.+) \S+$/gm).flatMap(list => list.split(' '))
  expect(copied.filter(path => !existsSync(join(root, path)))).toEqual([])
  expect(copied).toEqual(expect.arrayContaining(['bin', 'src', 'package.json', 'package-lock.json']))
})

test('nodes are given time to stop: their notice, their drain, and a while to settle', () => {
  const values = read('deploy/helm/keyhouse/values.yaml')
  const number = (text: string, pattern: RegExp): number => Number(pattern.exec(text)?.[1])
  const noticeMs = number(values, /KEYHOUSE_DRAIN_NOTICE_MS: "(\d+)"/)
  const drainMs = number(values, /KEYHOUSE_DRAIN_MS: "(\d+)"/)
  expect(number(values, /terminationGracePeriodSeconds: (\d+)/) * 1000).toBeGreaterThanOrEqual(
    noticeMs + drainMs + settleMs,
  )
  const compose = read('deploy/compose.yaml')
  const composeNoticeMs = number(compose, /KEYHOUSE_DRAIN_NOTICE_MS: (\d+)/)
  expect(number(compose, /stop_grace_period: (\d+)s/) * 1000).toBeGreaterThanOrEqual(
    composeNoticeMs + settings['drain-ms'].default + settleMs,
  )
})

test('the balancer keeps connections for a shorter time than the nodes do', () => {
  const seconds = Number(/keepalive (\d+)s/.exec(read('deploy/Caddyfile'))?.[1])
  expect(seconds * 1000).toBeLessThan(settings['keep-alive-timeout-ms'].default)
})
