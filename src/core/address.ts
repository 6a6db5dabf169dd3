/** Client addresses, in the form in which limits and lists compare them. */
import { BlockList, isIP, isIPv6, SocketAddress } from 'node:net'

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i

/** The plain IPv4 form of an IPv4-mapped IPv6 address, without a zone; any other address unchanged. */
export function plainAddress(address: string): string {
  if (!/[:%]/.test(address)) return address
  const bare = address.split('%', 1)[0] ?? ''
  // Only with this group can an address be a mapped one, which has many spellings: `::ffff:a00:1` is 10.0.0.1 as well
  if (!/(?:^|:)ffff:/i.test(bare)) return bare
  return mapped.exec(bare)?.[1] ?? mapped.exec(canonical(bare))?.[1] ?? bare
}

const canonical = (address: string): string =>
  isIPv6(address) ? new SocketAddress({ address, family: 'ipv6' }).address : ''

/** What a limit by address counts: an IPv4 address, or an IPv6 /64, since whoever has one has all of its addresses. */
export function addressBucket(address: string): string {
  const plain = plainAddress(address)
  if (!isIPv6(plain)) return plain
  const [head = '', tail] = plain.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length
  const groups = [...first, ...Array<string>(Math.max(0, zeros)).fill('0'), ...last]
  return `${groups
    .slice(0, 4)
    .map(group => Number.parseInt(group, 16).toString(16))
    .join(':')}::/64`
}

export type AddressList = { has(address: string): boolean }

type Block = { readonly address: string; readonly bits: number; readonly family: 'ipv4' | 'ipv6' }

/**
 * A list of CIDR blocks, v4 and v6. An IPv4-mapped address is the IPv4 address, on both sides, and no IPv6 block holds
 * one: `::/0` is every IPv6 address and nothing else.
 * @throws RangeError that names the entry which is no block
 */
export function addressList(blocks: readonly string[]): AddressList {
  // One for each family, because a BlockList compares IPv4 with IPv6 blocks as if it were mapped
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() }
  for (const block of blocks) {
    const { address, bits, family } = readBlock(block)
    lists[family].addSubnet(address, bits, family)
  }
  return {
    has(address) {
      const plain = plainAddress(address)
      const family = familyOf(plain)
      return family !== undefined && lists[family].check(plain, family)
    },
  }
}

/** The block as it is stored: with its length, and an IPv4-mapped one as IPv4. @throws RangeError as `addressList` */
export function plainBlock(block: string): string {
  const { address, bits } = readBlock(block)
  return `${address}/${bits}`
}

function readBlock(block: string): Block {
  const [text = '', length, ...more] = block.split('/')
  const address = plainAddress(text)
  const family = familyOf(address)
  const bitsMax = family === 'ipv4' ? 32 : 128
  const bits = length === undefined ? bitsMax : lengthOf(length) - (address === text ? 0 : 96)
  if (family === undefined || more.length > 0 || !(bits >= 0 && bits <= bitsMax) || text.includes('%')) {
    throw new RangeError(`'${block}' is no address or CIDR block, such as 203.0.113.0/24 or 2001:db8::/32`)
  }
  return { address, bits, family }
}

const lengthOf = (text: string): number => (/^(?:0|[1-9]\d{0,2})$/.test(text) ? Number(text) : Number.NaN)

function familyOf(address: string): Block['family'] | undefined {
  const version = isIP(address)
  if (version === 0) return undefined
  return version === 4 ? 'ipv4' : 'ipv6'
}

/** `203.0.113.7:1234`, `[2001:db8::1]:1234` and `[2001:db8::1]`, as some proxies write them. */
const withoutPort = (hop: string): string =>
  /^(?:\[([^\]]+)\](?::\d+)?|(\d+\.\d+\.\d+\.\d+):\d+)$/.exec(hop)?.slice(1).join('') ?? hop

/**
 * Where a request really comes from. A proxy that we trust names the address before it in X-Forwarded-For, which is read
 * from the right: what stands left of the first address that is no proxy of ours, anyone may have written.
 */
export function clientAddress(remote: string, forwardedFor: string | undefined, proxies: AddressList): string {
  let address = plainAddress(remote)
  if (forwardedFor === undefined) return address
  for (const hop of forwardedFor.split(',').reverse()) {
    if (!proxies.has(address)) return address
    const named = plainAddress(withoutPort(hop.trim()))
    if (isIP(named) === 0) return address
    address = named
  }
  return address
}
