/** The models that run inside Keyhouse, as far as the control plane knows of them. */
import type { ModelKind } from '#core/catalogue.ts'

export type LocalModel = {
  readonly name: string
  readonly kind: 'chat' | 'embeddings'
  readonly contextTokensMax: number
  readonly outputTokensMax: number
  readonly label: string
  readonly bytes: number
  readonly state: {
    readonly status: 'absent' | 'downloading' | 'ready' | 'failed'
    readonly percent?: number
    readonly reason?: string
  }
}

export type PullProgress = { readonly part: string; readonly bytesDone: number; readonly bytesTotal: number | null }

export type PullRequest = {
  readonly onProgress: (progress: PullProgress) => void
  /** A path or an address, when not from where the catalog says; then its hash is required. */
  readonly from?: string
  readonly sha256?: string
}

export type LocalModels = {
  list(): Promise<readonly LocalModel[]>
  pull(model: string, request: PullRequest): Promise<void>
}

/** The provider that serves them, and its adapter. */
export const localProvider = 'local'
export const testProvider = 'fake'
export const builtinProviders = [localProvider, testProvider] as const

export const isBuiltin = (provider: string): boolean => builtinProviders.some(name => name === provider)

/** The engine's word for the kind, and the catalogue's. */
export const kindOf = ({ kind }: Pick<LocalModel, 'kind'>): ModelKind => (kind === 'embeddings' ? 'embedding' : 'chat')
