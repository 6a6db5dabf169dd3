/** Client addresses, in the form in which limits and lists compare them. */
import { BlockList, isIP, isIPv6 } from 'node:net'

/** The plain IPv4 form of an IPv4-mapped IPv6 address, without a zone; any other address unchanged. */
export function plainAddress(address: string): string {
  const bare = address.split('%', 1)[0] ?? ''
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(bare) ? bare.slice('::ffff:'.length) : bare
}

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

/**
 * A list of CIDR blocks, v4 and v6. An IPv4-mapped address is the IPv4 address, on both sides.
 * @throws RangeError that names the entry which is no block
 */
export function addressList(blocks: readonly string[]): AddressList {
  const list = new BlockList()
  for (const block of blocks) addBlock(list, block)
  return {
    has(address) {
      const plain = plainAddress(address)
      const family = isIP(plain)
      return family !== 0 && list.check(plain, family === 4 ? 'ipv4' : 'ipv6')
    },
  }
}

function addBlock(list: BlockList, block: string): void {
  const [text = '', length, ...more] = block.split('/')
  const address = plainAddress(text)
  const family = isIP(address)
  const mapped = address !== text
  const bitsMax = family === 4 ? 32 : 128
  const bits =
    length === undefined ? bitsMax : /^\d{1,3}$/.test(length) ? Number(length) - (mapped ? 96 : 0) : Number.NaN
  if (family === 0 || more.length > 0 || !(bits >= 0 && bits <= bitsMax) || text.includes('%')) {
    throw new RangeError(`'${block}' is no address or CIDR block, such as 203.0.113.0/24 or 2001:db8::/32`)
  }
  list.addSubnet(address, bits, family === 4 ? 'ipv4' : 'ipv6')
}

/**
 * Where a request really comes from. A proxy that we trust names the address before it in X-Forwarded-For, which is read
 * from the right: what stands left of the first address that is no proxy of ours, anyone may have written.
 */
export function clientAddress(remote: string, forwardedFor: string | undefined, proxies: AddressList): string {
  let address = plainAddress(remote)
  if (forwardedFor === undefined) return address
  for (const hop of forwardedFor.split(',').reverse()) {
    if (!proxies.has(address)) return address
    const named = plainAddress(hop.trim())
    if (isIP(named) === 0) return address
    address = named
  }
  return address
}
