import { isIP, isIPv6 } from 'node:net'
import fc from 'fast-check'
import ipaddr from 'ipaddr.js'
import { describe, expect, test } from 'vitest'
import { addressBucket, addressList, clientAddress, plainAddress, plainBlock } from './address.ts'

test.each([
  ['203.0.113.7', '203.0.113.7'],
  ['::ffff:203.0.113.7', '203.0.113.7'],
  ['::ffff:cb00:7107', '203.0.113.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
  ['2001:db8:1:2::9', '2001:db8:1:2::/64'],
  ['2001:0db8:0001:0002::9', '2001:db8:1:2::/64'],
  ['::1', '0:0:0:0::/64'],
  ['fe80::1%eth0', 'fe80:0:0:0::/64'],
])('%s counts as %s', (address, bucket) => {
  expect(addressBucket(address)).toBe(bucket)
})

test.each(['::FFFF:10.0.0.1', '::ffff:a00:1', '0:0:0:0:0:ffff:10.0.0.1', '0000:0000:0000:0000:0000:FFFF:0A00:0001'])(
  'an IPv4-mapped address is the IPv4 address: %s',
  address => {
    expect(plainAddress(address)).toBe('10.0.0.1')
  },
)

describe('lists', () => {
  test.each([
    ['10.0.0.0/8', '10.255.0.1', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', '::ffff:10.0.0.1', true],
    ['::ffff:10.0.0.0/104', '10.9.9.9', true],
    ['0.0.0.0/0', '255.255.255.255', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '2001:db8::1', true],
    // Whoever allows all of IPv6 has not allowed IPv4
    ['::/0', '203.0.113.7', false],
    ['::/0', '::ffff:203.0.113.7', false],
    ['2001:db8::/32', '2001:db8:ffff::1', true],
    ['2001:db8::/32', '2001:db9::1', false],
    ['203.0.113.7', '203.0.113.7', true],
    ['203.0.113.7', '203.0.113.8', false],
    ['10.0.0.0/8', 'no address', false],
    ['10.0.0.0/8', '', false],
  ])('%s holds %s: %s', (block, address, held) => {
    expect(addressList([block]).has(address)).toBe(held)
  })

  test('that are empty hold nothing', () => {
    expect(addressList([]).has('127.0.0.1')).toBe(false)
  })
})

/** ipaddr.js, told what we mean: mapped addresses are IPv4, and families do not mix. */
function referenceHas(block: string, address: string): boolean {
  const [base, bits] = ipaddr.parseCIDR(block)
  const plain = ipaddr.process(address)
  if (base.kind() === 'ipv6' && (base as ipaddr.IPv6).isIPv4MappedAddress() && bits >= 96) {
    const mapped = (base as ipaddr.IPv6).toIPv4Address()
    return plain.kind() === 'ipv4' && (plain as ipaddr.IPv4).match(mapped, bits - 96)
  }
  // Checked: both are of one kind, which is all that the types of match() ask
  return plain.kind() === base.kind() && plain.match(base as ipaddr.IPv4, bits)
}

const byte = fc.integer({ min: 0, max: 255 })
const v4 = fc.tuple(byte, byte, byte, byte).map(bytes => bytes.join('.'))
// Small numbers and zeros are likely, so that runs of zeros are
const group = fc.oneof(fc.constant(0), fc.constant(0xffff), fc.integer({ min: 0, max: 0xffff }))
const v6 = fc
  .tuple(fc.array(group, { minLength: 8, maxLength: 8 }), fc.boolean(), fc.boolean())
  .map(([groups, short, upper]) => {
    const long = groups.map(part => part.toString(16).padStart(short ? 1 : 4, '0')).join(':')
    const text = short ? new ipaddr.IPv6(groups).toString() : long
    return upper ? text.toUpperCase() : text
  })
const mapped = fc.tuple(v4, fc.boolean()).map(([address, hex]) => {
  const groups = ipaddr.IPv4.parse(address).toIPv4MappedAddress()
  return hex ? groups.toString() : `::ffff:${address}`
})
const address = fc.oneof(v4, v6, mapped)
const block = fc.oneof(
  fc.tuple(v4, fc.integer({ min: 0, max: 32 })),
  fc.tuple(v6, fc.integer({ min: 0, max: 128 })),
  fc.tuple(mapped, fc.integer({ min: 96, max: 128 })),
)

describe('against ipaddr.js', () => {
  test('whether a block holds an address, also one that differs from its base in few bits', () => {
    const near = fc.tuple(block, fc.integer({ min: 0, max: 127 })).map(([[base, bits], flip]) => {
      const bytes = ipaddr.parse(base).toByteArray()
      const at = flip % (bytes.length * 8)
      bytes[at >> 3] = (bytes[at >> 3] ?? 0) ^ (128 >> (at & 7))
      return [[base, bits], ipaddr.fromByteArray(bytes).toString()] as const
    })
    const far = fc.tuple(block, address)
    fc.assert(
      fc.property(fc.oneof(near, far), ([[base, bits], asked]) => {
        // A random v6 base may fall into the mapped range, where a shorter length means nothing to us
        fc.pre(isIPv6(plainAddress(base)) || !isIPv6(base) || bits >= 96)
        expect(addressList([`${base}/${bits}`]).has(asked)).toBe(referenceHas(`${base}/${bits}`, asked))
      }),
      { numRuns: 5_000 },
    )
  })

  test('what is an address, and what is none', () => {
    const pieces = fc.constantFrom(
      ':',
      '::',
      '.',
      '/',
      '%',
      ' ',
      'ffff',
      '0',
      '1',
      '255',
      '256',
      '010',
      'a',
      'g',
      '-1',
      '33',
    )
    const text = fc.array(pieces, { maxLength: 12 }).map(parts => parts.join(''))
    fc.assert(
      fc.property(
        fc.oneof(
          text,
          fc.string(),
          address,
          fc.tuple(address, text).map(pair => pair.join('/')),
        ),
        entry => {
          expect([entry, accepted(entry)]).toEqual([entry, referenceAccepts(entry)])
        },
      ),
      { numRuns: 5_000 },
    )
  })

  test('what is kept of a block holds the same addresses', () => {
    fc.assert(
      fc.property(block, address, ([base, bits], asked) => {
        fc.pre(isIPv6(plainAddress(base)) || !isIPv6(base) || bits >= 96)
        const kept = plainBlock(`${base}/${bits}`)
        expect(addressList([kept]).has(asked)).toBe(addressList([`${base}/${bits}`]).has(asked))
      }),
      { numRuns: 2_000 },
    )
  })
})

function accepted(entry: string): boolean {
  try {
    addressList([entry])
    return true
  } catch (error) {
    expect(error).toBeInstanceOf(RangeError)
    return false
  }
}

/** ipaddr.js without its leniency: it takes octal and short forms of IPv4, zones, and lengths with zeros in front. */
function referenceAccepts(entry: string): boolean {
  const [base = '', bits] = entry.split('/')
  if (isIP(base) === 0 || base.includes('%')) return false
  if (bits === undefined) return ipaddr.isValid(entry)
  const belowMapped = isIPv6(base) && ipaddr.IPv6.parse(base).isIPv4MappedAddress() && Number(bits) < 96
  return ipaddr.isValidCIDR(entry) && !/^0\d/.test(bits) && !belowMapped
}

describe('behind proxies', () => {
  const proxies = addressList(['10.0.0.0/8', '::1'])

  test.each([
    // Nobody believes a stranger
    ['203.0.113.7', '198.51.100.1', '203.0.113.7'],
    ['10.0.0.1', '198.51.100.1', '198.51.100.1'],
    // What stands left of the first address that is no proxy, anyone may have written
    ['10.0.0.1', '127.0.0.1, 198.51.100.1', '198.51.100.1'],
    ['10.0.0.1', '127.0.0.1, 198.51.100.1, 10.0.0.2', '198.51.100.1'],
    ['::ffff:10.0.0.1', ' 198.51.100.1 ', '198.51.100.1'],
    ['::1', '2001:db8::7', '2001:db8::7'],
    // Nonsense is no address: what was connected with counts
    ['10.0.0.1', 'unknown', '10.0.0.1'],
    ['10.0.0.1', '127.0.0.1, unknown', '10.0.0.1'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', undefined, '10.0.0.1'],
    ['10.0.0.1', '203.0.113.7:51234', '203.0.113.7'],
    ['10.0.0.1', '[2001:db8::1]:51234, 10.0.0.2:80', '2001:db8::1'],
    ['10.0.0.1', '[2001:db8::1]', '2001:db8::1'],
    ['10.0.0.1', '203.0.113.7:', '10.0.0.1'],
  ])('from %s with X-Forwarded-For %s it is %s', (remote, forwardedFor, seen) => {
    expect(clientAddress(remote, forwardedFor, proxies)).toBe(seen)
  })

  test('no header makes anybody look like a proxy or like the neighbour of one', () => {
    fc.assert(
      fc.property(fc.string(), v4, (written, real) => {
        fc.pre(!real.startsWith('10.') && real !== '::1')
        expect(clientAddress(real, written, proxies)).toBe(real)
        expect(clientAddress('10.0.0.1', `${written}, ${real}`, proxies)).toBe(real)
      }),
      { numRuns: 1_000 },
    )
  })
})
