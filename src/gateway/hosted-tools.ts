/** Tools that the provider runs itself and charges for, under their own names or a dated one such as `web_search_preview`. */
import { type HostedTool, hostedTools } from '#contract/hosted-tool-permissions.ts'
import type { JsonObject } from './endpoints/ask.ts'

export function hostedToolsIn({ tools, web_search_options }: JsonObject): HostedTool[] {
  const named = Array.isArray(tools) ? tools.map(tool => String(tool?.type)) : []
  if (web_search_options !== undefined) named.push('web_search')
  if (named.length === 0) return []
  return hostedTools.filter(tool => named.some(type => type === tool || type.startsWith(`${tool}_`)))
}
