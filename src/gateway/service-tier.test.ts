import { expect, test } from 'vitest'
import { findServiceTier } from './service-tier.ts'

const find = (text: string) => findServiceTier(Buffer.from(text))

test('the tier is found wherever it stands', () => {
  expect(find('{"service_tier":"flex","choices":[]}')).toBe('flex')
  expect(find(JSON.stringify({ usage: {}, service_tier: 'priority' }, null, 2))).toBe('priority')
})

test('an answer that speaks of it, or says none, has none', () => {
  expect(find(JSON.stringify({ content: '"service_tier": "priority"' }))).toBeUndefined()
  expect(find('{"service_tier":null}')).toBeUndefined()
  expect(find('{"service_tier":"default","note":{"service_tier":null}}')).toBe('default')
  expect(find('')).toBeUndefined()
})
