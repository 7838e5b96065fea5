/** Which mode of CodeMirror colours which language. Each comes as a file of its own when a block first needs it. */

import type { StreamParser } from "@codemirror/streamparser";

export type Mode = StreamParser<unknown>;

const clike = () => import("@codemirror/legacy-modes/mode/clike");
const css = () => import("@codemirror/legacy-modes/mode/css");
const javascript = () => import("@codemirror/legacy-modes/mode/javascript");
const mllike = () => import("@codemirror/legacy-modes/mode/mllike");
const sql = () => import("@codemirror/legacy-modes/mode/sql");
const xml = () => import("@codemirror/legacy-modes/mode/xml");

const MODES: Readonly<Record<string, () => Promise<Mode>>> = {
  c: async () => (await clike()).c,
  clojure: async () => (await import("@codemirror/legacy-modes/mode/clojure")).clojure,
  cmake: async () => (await import("@codemirror/legacy-modes/mode/cmake")).cmake,
  cpp: async () => (await clike()).cpp,
  csharp: async () => (await clike()).csharp,
  css: async () => (await css()).css,
  dart: async () => (await clike()).dart,
  diff: async () => (await import("@codemirror/legacy-modes/mode/diff")).diff,
  dockerfile: async () => (await import("@codemirror/legacy-modes/mode/dockerfile")).dockerFile,
  erlang: async () => (await import("@codemirror/legacy-modes/mode/erlang")).erlang,
  fortran: async () => (await import("@codemirror/legacy-modes/mode/fortran")).fortran,
  fsharp: async () => (await mllike()).fSharp,
  go: async () => (await import("@codemirror/legacy-modes/mode/go")).go,
  groovy: async () => (await import("@codemirror/legacy-modes/mode/groovy")).groovy,
  haskell: async () => (await import("@codemirror/legacy-modes/mode/haskell")).haskell,
  html: async () => (await xml()).html,
  http: async () => (await import("@codemirror/legacy-modes/mode/http")).http,
  java: async () => (await clike()).java,
  javascript: async () => (await javascript()).javascript,
  json: async () => (await javascript()).json,
  julia: async () => (await import("@codemirror/legacy-modes/mode/julia")).julia,
  kotlin: async () => (await clike()).kotlin,
  latex: async () => (await import("@codemirror/legacy-modes/mode/stex")).stex,
  less: async () => (await css()).less,
  lisp: async () => (await import("@codemirror/legacy-modes/mode/commonlisp")).commonLisp,
  lua: async () => (await import("@codemirror/legacy-modes/mode/lua")).lua,
  nginx: async () => (await import("@codemirror/legacy-modes/mode/nginx")).nginx,
  objectivec: async () => (await clike()).objectiveC,
  ocaml: async () => (await mllike()).oCaml,
  octave: async () => (await import("@codemirror/legacy-modes/mode/octave")).octave,
  pascal: async () => (await import("@codemirror/legacy-modes/mode/pascal")).pascal,
  perl: async () => (await import("@codemirror/legacy-modes/mode/perl")).perl,
  powershell: async () => (await import("@codemirror/legacy-modes/mode/powershell")).powerShell,
  properties: async () => (await import("@codemirror/legacy-modes/mode/properties")).properties,
  protobuf: async () => (await import("@codemirror/legacy-modes/mode/protobuf")).protobuf,
  python: async () => (await import("@codemirror/legacy-modes/mode/python")).python,
  r: async () => (await import("@codemirror/legacy-modes/mode/r")).r,
  ruby: async () => (await import("@codemirror/legacy-modes/mode/ruby")).ruby,
  rust: async () => (await import("@codemirror/legacy-modes/mode/rust")).rust,
  sass: async () => (await import("@codemirror/legacy-modes/mode/sass")).sass,
  scala: async () => (await clike()).scala,
  scheme: async () => (await import("@codemirror/legacy-modes/mode/scheme")).scheme,
  scss: async () => (await css()).sCSS,
  shell: async () => (await import("@codemirror/legacy-modes/mode/shell")).shell,
  sql: async () => (await sql()).standardSQL,
  mysql: async () => (await sql()).mySQL,
  postgresql: async () => (await sql()).pgSQL,
  swift: async () => (await import("@codemirror/legacy-modes/mode/swift")).swift,
  toml: async () => (await import("@codemirror/legacy-modes/mode/toml")).toml,
  typescript: async () => (await javascript()).typescript,
  vb: async () => (await import("@codemirror/legacy-modes/mode/vb")).vb,
  verilog: async () => (await import("@codemirror/legacy-modes/mode/verilog")).verilog,
  wasm: async () => (await import("@codemirror/legacy-modes/mode/wast")).wast,
  xml: async () => (await xml()).xml,
  yaml: async () => (await import("@codemirror/legacy-modes/mode/yaml")).yaml,
};

const ALIASES: Readonly<Record<string, string>> = {
  "c#": "csharp",
  "c++": "cpp",
  "f#": "fsharp",
  "objective-c": "objectivec",
  bash: "shell",
  cc: "cpp",
  cjs: "javascript",
  clj: "clojure",
  console: "shell",
  cs: "csharp",
  docker: "dockerfile",
  env: "properties",
  golang: "go",
  h: "c",
  hpp: "cpp",
  hs: "haskell",
  htm: "html",
  ini: "properties",
  jl: "julia",
  js: "javascript",
  json5: "json",
  jsonc: "json",
  jsonl: "json",
  jsx: "javascript",
  kt: "kotlin",
  matlab: "octave",
  mjs: "javascript",
  ml: "ocaml",
  patch: "diff",
  pgsql: "postgresql",
  pl: "perl",
  postgres: "postgresql",
  proto: "protobuf",
  ps1: "powershell",
  py: "python",
  python3: "python",
  rb: "ruby",
  rs: "rust",
  sh: "shell",
  svg: "xml",
  svelte: "html",
  tex: "latex",
  ts: "typescript",
  tsx: "typescript",
  vue: "html",
  wat: "wasm",
  yml: "yaml",
  zsh: "shell",
};

/** The name by which the language of a fence is coloured, if it is known. */
export function modeName(language: string): string | undefined {
  const name = language.toLowerCase();
  const known = Object.hasOwn(ALIASES, name) ? ALIASES[name] : name;
  return known !== undefined && Object.hasOwn(MODES, known) ? known : undefined;
}

export function loadMode(name: string): Promise<Mode> {
  const load = MODES[name];
  return load ? load() : Promise.reject(new Error(`no mode is called ${name}`));
}
