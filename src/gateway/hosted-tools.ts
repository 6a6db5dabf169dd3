/** Tools that the provider runs itself and charges for, under their own names or a dated one such as `web_search_preview`. */
import { type HostedTool, hostedTools } from '#contract/hosted-tool-permissions.ts'
import type { JsonObject } from './endpoints/ask.ts'

/** Members that make a provider search: OpenAI's, xAI's, OpenRouter's, Qwen's. */
const searching = ['web_search_options', 'search_parameters', 'plugins', 'enable_search'] as const

export function hostedToolsIn(body: JsonObject): HostedTool[] {
  const { tools } = body
  const named = Array.isArray(tools) ? tools.map(tool => String(tool?.type)) : []
  if (searching.some(member => body[member] !== undefined)) named.push('web_search')
  if (named.length === 0) return []
  return hostedTools.filter(tool => named.some(type => type === tool || type.startsWith(`${tool}_`)))
}
