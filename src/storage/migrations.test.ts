import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'

test('no two migrations have one number: which is which would depend on their names', () => {
  const names = readdirSync(new URL('./migrations/', import.meta.url)).sort()
  const expected = names.map((_, index) => String(index + 1).padStart(4, '0'))
  expect(names.map(name => name.slice(0, 4))).toEqual(expected)
})
