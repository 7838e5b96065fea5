/** What the monitor's routes answer; see docs/how-to/monitor.md. Durations are milliseconds. */

export interface Duration {
  readonly count: number;
  readonly mean: number | null;
  readonly p50: number | null;
  readonly p95: number | null;
  readonly p99: number | null;
  readonly max: number | null;
  readonly min: number | null;
}

export type Circuit = "closed" | "open" | "half_open";

export interface ProviderFigures {
  readonly provider: string;
  readonly circuit: Circuit | null;
  readonly running: number | null;
  readonly queued: number | null;
  readonly attempts: number;
  readonly failures: number;
  readonly error_rate: number | null;
  readonly first_token: Duration;
}

export interface ModelFigures {
  readonly model: string;
  readonly streams: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly cost: readonly { readonly amount: number; readonly currency: string }[];
}

export interface Summary {
  readonly at: string;
  readonly window_s: number;
  readonly covered_s: number;
  readonly now: {
    readonly streams: {
      readonly active: number;
      readonly limit: number;
      readonly queued: number;
      readonly queue_limit: number;
      readonly by_state: Readonly<Record<string, number>>;
    };
    readonly memory_bytes: number;
    readonly disk: { readonly size_bytes: number; readonly free_bytes: number } | null;
    readonly viewers: { readonly active: number; readonly limit: number };
  };
  readonly totals: Readonly<
    Record<
      | "started"
      | "recovered"
      | "done"
      | "failed"
      | "cancelled"
      | "viewers"
      | "resumed"
      | "reset"
      | "left_early"
      | "retries"
      | "fallbacks"
      | "hedges"
      | "continuations"
      | "chunks"
      | "text_bytes"
      | "sent_bytes"
      | "prompt_tokens"
      | "completion_tokens"
      | "texts"
      | "drops",
      number
    > & { readonly retransmissions: number | null; readonly packets_lost: number | null }
  >;
  readonly rates: {
    readonly chunks_per_s: number | null;
    readonly bytes_per_s: number | null;
    readonly tokens_per_s: number | null;
    readonly streams_per_s: number | null;
    readonly error_rate: number | null;
    readonly completion_rate: number | null;
    readonly reconnection_rate: number | null;
    readonly mean_chunk_bytes: number | null;
  };
  readonly durations: {
    readonly setup: Duration;
    readonly first_token: Duration;
    readonly chunk_gap: Duration;
    readonly duration: Duration;
    readonly rtt: Duration;
  };
  readonly reasons: readonly { readonly reason: string; readonly count: number }[];
  readonly providers: readonly ProviderFigures[];
  readonly models: readonly ModelFigures[];
  /** Why nothing is known of the viewers' network; null: something is. */
  readonly network: string | null;
}

export interface Alert {
  readonly name: "error_rate" | "first_token" | "chunk_gap" | "provider_down" | "connection_drops" | "log_lag" | "disk";
  readonly subject: string;
  readonly unit: "share" | "ms" | "1/h";
  readonly value: number;
  readonly threshold: number;
  readonly began_at: string;
  readonly ended_at: string | null;
  readonly end_reason: "recovered" | "unknown" | "removed" | null;
}

export interface AlertList {
  readonly data: readonly Alert[];
  readonly past: readonly Alert[];
}

export interface LiveFigures {
  readonly summary: Summary;
  readonly alerts: readonly Alert[];
}

export interface MetricSeries {
  readonly metric: string;
  readonly unit: string;
  readonly values: Readonly<Record<string, readonly (number | null)[]>>;
}

export interface TimeSeries {
  readonly step_s: number;
  readonly times: readonly number[];
  readonly data: readonly MetricSeries[];
}

export interface Connection {
  readonly id: string;
  readonly streamId: string;
  readonly status: string;
  readonly provider: string;
  readonly model: string;
  readonly dialect: string;
  readonly clientId: string;
  readonly metadata: {
    readonly userAgent: string;
    readonly ip: string;
    readonly connectedAt: string;
    readonly lastActivity: string;
    readonly bytesReceived?: number;
    readonly chunksReceived?: number;
    readonly averageLatency?: number;
  };
  /** Of one that was made below /streaming. */
  readonly viewers?: number;
  /** Of any other. */
  readonly cursor?: string | null;
  readonly lag?: number;
  readonly resumed?: boolean;
  readonly network?: { readonly rtt: number; readonly retransmissions: number };
}

export interface ConnectionList {
  readonly data: readonly Connection[];
  readonly total: number | null;
}

export interface StreamMetrics {
  readonly connectionId: string;
  readonly period: { readonly start: string; readonly end: string };
  readonly performance: {
    readonly totalChunks: number;
    readonly totalBytes: number;
    readonly averageChunkSize?: number;
    readonly chunksPerSecond?: number;
    readonly bytesPerSecond?: number;
    readonly latency?: Readonly<Record<"min" | "max" | "average" | "p95" | "p99", number | null>>;
  };
  readonly quality: {
    readonly completionRate?: number;
    readonly errorRate?: number;
    readonly averageStreamDuration?: number;
    readonly reconnectionRate?: number;
  };
  readonly network: {
    readonly connectionDrops: number | null;
    readonly packetsLost: number | null;
    readonly retransmissions: number | null;
    readonly averageRTT: number | null;
    readonly reason?: string;
  };
}

export interface Mark {
  readonly at_ms: number;
  readonly kind: string;
  readonly detail?: string;
}

export interface StreamTimeline {
  readonly id: string;
  readonly status: string;
  readonly model: string;
  readonly provider: string;
  readonly dialect: string;
  readonly created_at: string;
  readonly finished_at: string | null;
  readonly events: number;
  readonly usage: { readonly prompt_tokens: number; readonly completion_tokens: number } | null;
  readonly error: { readonly reason: string; readonly message: string } | null;
  readonly recorded: boolean;
  readonly bucket_ms: number | null;
  readonly chunks: readonly number[];
  readonly marks: readonly Mark[];
  readonly attempts: readonly {
    readonly provider: string;
    readonly model: string;
    readonly outcome: string;
    readonly began_ms: number;
    readonly duration_ms: number;
    readonly reason: string | null;
  }[];
  readonly viewers: readonly Connection[];
}
