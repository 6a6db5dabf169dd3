import { expect, test } from 'vitest'
import { jsonDepthMax, parseBody, upstreamBody } from './request-body.ts'

const body = (text: string) => parseBody(Buffer.from(text))

test("a body in which nothing changes goes upstream as the client's own bytes", () => {
  const request = body('{ "model":"m",  "messages": [] }')
  expect(upstreamBody(request, { model: 'm' })).toBe(request.raw)
})

test('a member that is only added stands in front of the untouched rest', () => {
  const request = body('{ "model":"m",  "x": 12345678901234567890 }')
  const sent = upstreamBody(request, { model: 'm', stream_options: { include_usage: true } }).toString()
  expect(sent).toBe('{"stream_options":{"include_usage":true}, "model":"m",  "x": 12345678901234567890 }')
})

test('a member that changes is written anew', () => {
  const sent = upstreamBody(body('{"model":"alias","n":1}'), { model: 'real' }).toString()
  expect(JSON.parse(sent)).toEqual({ model: 'real', n: 1 })
})

test('the provider reads the same model and bound as we do, however often they stand there', () => {
  const twice = '{"model":"cheap","max_tokens":1,"max_tokens":100000,"messages":[],"model":"cheap"}'
  const sent = upstreamBody(body(twice), { model: 'cheap' }).toString()
  expect(sent.match(/max_tokens/g)).toHaveLength(1)
  expect(JSON.parse(sent).max_tokens).toBe(100000)
  const hidden = '{"model":"cheap","mod\\u0065l":"dear"}'
  expect(JSON.parse(upstreamBody(body(hidden), { model: 'real' }).toString())).toEqual({ model: 'real' })
})

const decisive = {
  model: ['"cheap"', '"dear"'],
  stream: ['false', 'true'],
  stream_options: ['{}', '{"include_usage":true}'],
  max_tokens: ['1', '100000'],
  max_completion_tokens: ['1', '100000'],
  n: ['1', '100'],
  best_of: ['1', '100'],
  prompt: ['"one"', '["one","two"]'],
  messages: ['[]', '[{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}]'],
  tools: ['[]', '[{"type":"web_search"}]'],
  web_search_options: ['null', '{}'],
} as const
const escaped = (member: string): string => `\\u${member.charCodeAt(0).toString(16).padStart(4, '0')}${member.slice(1)}`
const shapes: readonly ((member: string, one: string, other: string) => string)[] = [
  (member, one, other) => `{"${member}":${one},"${member}":${other},"messages":[]}`,
  (member, one, other) => `{"messages":[],"${member}" : ${one},\n"x":"y",\t"${member}"\n:\n${other} }`,
  (member, one, other) => `{"user":"${member}","${member}":${one},"${member}":${other}}`,
  (member, one, other) => `{"user":"\\"${member}","${member}":${one},"${member}":${other}}`,
  (member, one, other) => `{"${member}":${one},"x":"é☃ \\"","${member}":${other}}`,
  (member, one, other) => `{"${escaped(member)}":${one},"${member}":${other}}`,
  (member, one, other) => `{"${member}":${one},"${escaped(member)}":${other}}`,
  (member, one, other) => `{"${escaped(member)}":${one},"${escaped(member)}":${other}}`,
]

test.each(Object.entries(decisive))(
  'a doubled %s reaches no provider, in whichever shape it comes',
  (member, values) => {
    for (const shape of shapes) {
      for (const [one, other] of [values, values.toReversed()] as const) {
        const request = body(shape(member, one ?? '', other ?? ''))
        const sent = upstreamBody(request, { x: 'added' }).toString()
        expect(sent.split(`"${member}":`)).toHaveLength(2)
        expect(sent).not.toContain('\\u')
        expect(JSON.parse(sent)).toEqual({ ...request.parsed, x: 'added' })
      }
    }
  },
)

test.each([
  '{"model":"cheap","Model":"dear"}',
  '{"model":"m","max_tokens":1,"MAX_TOKENS":100000}',
  '{"model":"m","N":100}',
  '{"model":"m","messages":[],"Messages":[{"role":"user"}]}',
  '{"model":"m","Tools":[{"type":"web_search"}]}',
  '{"model":"m","max_to\u212aens":100000}',
  '{"model":"m","re\u017fponse":1,"be\u017ft_of":20}',
  '{"model":"m","stream":true,"stream_options":{"include_usage":true,"Include_Usage":false}}',
])('a member that only a provider that ignores case would read is refused: %s', text => {
  expect(() => body(text)).toThrow(/Unknown parameter: '.+'\. Did you mean/)
})

test('members that differ, one of each, are no reason to write the body anew', () => {
  const each = Object.entries(decisive).map(([member, [value]]) => `"${member}": ${value}`)
  const request = body(`{ ${each.join(', ')} }`)
  expect(upstreamBody(request, { model: 'cheap' })).toBe(request.raw)
})

test.each(['', '{', '[]', '"text"', 'null', '12', '{"a":1}}', '\ufeff{}', '{"a":NaN}'])(
  '%j is no JSON object',
  text => {
    expect(() => body(text)).toThrow(/could not parse the JSON body/)
  },
)

test('bytes that are not UTF-8 are refused', () => {
  expect(() => parseBody(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toThrow(/could not parse/)
})

test('nesting has a bound, and what is far beyond it does not break the parser', () => {
  const nested = (depth: number): string => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`
  expect(body(nested(jsonDepthMax - 1)).parsed).toHaveProperty('a')
  expect(() => body(nested(jsonDepthMax))).toThrow(/nested deeper/)
  expect(() => body(nested(1_000_000))).toThrow(/nested deeper|could not parse/)
})
