export type { AIStreamMessage, AIStreamRequest } from "./session.js";
export { useAIStream } from "./use-ai-stream.js";
export type { AIStream, UseAIStreamOptions } from "./use-ai-stream.js";
