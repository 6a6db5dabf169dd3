import { expect, test } from 'vitest'
import { findUsage } from './usage-in-body.ts'

const find = (value: unknown) => findUsage(Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)))
const usage = { prompt_tokens: 1, prompt_tokens_details: { cached_tokens: 0 }, total_tokens: 1 }

test('usage is found wherever it stands', () => {
  expect(find({ usage, choices: [{ text: 'x' }] })).toEqual(usage)
  expect(find({ choices: [{ text: 'x' }], usage })).toEqual(usage)
  expect(find(JSON.stringify({ usage }, null, 2))).toEqual(usage)
})

test('what a tool is called with, or a provider sends back of the request, cannot pass for it', () => {
  const lie = { prompt_tokens: 0 }
  for (const answer of [
    { usage, choices: [{ message: { tool_calls: [{ function: { arguments: { usage: lie } } }] } }] },
    { metadata: { usage: lie }, choices: [], usage },
    { usage, metadata: { usage: lie } },
  ]) {
    expect(find(answer)).toEqual(usage)
  }
  expect(find({ choices: [{ usage: lie }, { usage: lie }] })).toBeUndefined()
})

test('an answer that speaks of usage has none', () => {
  expect(find({ choices: [{ text: '"usage": {"prompt_tokens": 5}' }] })).toBeUndefined()
  expect(find({ choices: [], usage: null })).toBeUndefined()
  expect(find('')).toBeUndefined()
  expect(find('"usage":{')).toBeUndefined()
})
