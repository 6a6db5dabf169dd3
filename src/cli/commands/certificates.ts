/** `keyhouse certificates`: mutual TLS, for the organization or a project. */
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { dateTime } from '../amounts.ts'
import { messageOf, wrongUsage } from '../exit.ts'
import { onServer, type Run } from '../server-command.ts'
import { eitherPlace, ofEither, type ProjectOption } from '../settings-place.ts'
import { onePart } from '../show.ts'
import { type Column, table } from '../table.ts'
import { print, printJson, type Terminal } from '../terminal.ts'
import type { Certificate, CertificateInScope } from '../wire.ts'

const path = '/v1/organization/certificates'
const pathOf = (id: string): string => `${path}/${onePart(id)}`

export function define(command: Command, terminal: Terminal): void {
  const list = command.command('list').description('all certificates, and which are active')
  onServer(ofEither(list), terminal, listCertificates)
  const upload = command
    .command('upload')
    .description('bring a certificate; it does nothing until it is activated')
    .argument('<file>', 'PEM, of your authority or of one client')
    .option('--name <name>', 'what people call it')
  onServer<{ name?: string }>(upload, terminal, uploadCertificate)
  onServer(command.command('show').description('a certificate as PEM').argument('<id>'), terminal, showCertificate)
  const rename = command.command('rename').description('call it otherwise').argument('<id>').argument('<name>')
  onServer(rename, terminal, renameCertificate)
  const activate = command
    .command('activate')
    .description('from now on, calls need a client certificate that verifies')
    .argument('<ids...>', 'at most ten, together')
  onServer(ofEither(activate), terminal, toggle('activate'))
  const deactivate = command.command('deactivate').description('take that back').argument('<ids...>')
  onServer(ofEither(deactivate), terminal, toggle('deactivate'))
  const remove = command.command('delete').description('forget one that is active nowhere').argument('<id>')
  onServer(remove, terminal, deleteCertificate)
}

const columns: readonly Column<CertificateInScope>[] = [
  { title: 'id', cell: ({ id }) => id },
  { title: 'name', cell: ({ name }) => name ?? '' },
  { title: 'active', cell: ({ active }) => (active ? 'yes' : 'no') },
  { title: 'expires (UTC)', cell: ({ certificate_details: { expires_at } }) => dateTime(expires_at) },
]

const listCertificates: Run<ProjectOption> = async ({ client, terminal, options }) => {
  const place = await eitherPlace(client, options.project)
  const all = await client.list<CertificateInScope>(`${place.path}/certificates`)
  if (options.json) return void printJson(terminal, { object: 'list', data: all })
  print(terminal, all.length === 0 ? 'No certificates.' : table(terminal, columns, all))
}

const uploadCertificate: Run<{ name?: string }> = async ({ client, terminal, options, words: [file = ''] }) => {
  const certificate = await readFile(file, 'utf8').catch(error => {
    throw wrongUsage(`The file cannot be read: ${messageOf(error)}.`)
  })
  const made = await client.post<Certificate>(path, { name: options.name, certificate })
  if (options.json) return void printJson(terminal, made)
  print(terminal, `Uploaded ${made.id}, valid until ${dateTime(made.certificate_details.expires_at)} UTC.`)
  print(terminal, `Let it count: keyhouse certificates activate ${made.id}`)
}

const showCertificate: Run<object> = async ({ client, terminal, options, words: [id = ''] }) => {
  const certificate = await client.get<Certificate>(pathOf(id), { 'include[]': 'content' })
  if (options.json) printJson(terminal, certificate)
  else print(terminal, certificate.certificate_details.content ?? '')
}

const renameCertificate: Run<object> = async ({ client, terminal, options, words: [id = '', name = ''] }) => {
  const certificate = await client.post<Certificate>(pathOf(id), { name })
  if (options.json) printJson(terminal, certificate)
  else print(terminal, `${id} is called ${name} now.`)
}

const toggle =
  (verb: 'activate' | 'deactivate'): Run<ProjectOption> =>
  async ({ client, terminal, options, words }) => {
    const ids = words.flat()
    const place = await eitherPlace(client, options.project)
    const answer = await client.post<object>(`${place.path}/certificates/${verb}`, { certificate_ids: ids })
    if (options.json) return void printJson(terminal, answer)
    print(terminal, `${verb === 'activate' ? 'Active' : 'No longer active'} for ${place.name}: ${ids.join(', ')}.`)
    if (verb === 'activate')
      print(terminal, 'Calls without a client certificate that verifies are refused from now on.')
  }

const deleteCertificate: Run<object> = async ({ client, terminal, options, words: [id = ''] }) => {
  const answer = await client.delete<object>(pathOf(id))
  if (options.json) printJson(terminal, answer)
  else print(terminal, `Deleted ${id}.`)
}
