/** Who watches what, and the way into one stream. */

import { type ReactNode, useId, useState } from "react";
import { useLanguage, useTranslate } from "../i18n";
import { Button } from "../ui/controls";
import { formatClock, formatCount, formatMs, formatSize, NOTHING } from "./format";
import { Panel, Rows } from "./Panels";
import { usePolled } from "./polled";
import type { Connection, ConnectionList } from "./shapes";
import { StreamDialog } from "./StreamDialog";
import { texts } from "./texts";

const EVERY_MS = 3000;

export function Connections(): ReactNode {
  const t = useTranslate(texts);
  const { value, failed } = usePolled<ConnectionList>("/v1/connections?limit=100", EVERY_MS);
  const [opened, setOpened] = useState<string>();
  const connections = value?.data ?? [];
  return (
    <Panel title={t("connections")} wide>
      <FindStream onFind={setOpened} />
      {failed && value ? <p className="stale">{t("stale")}</p> : null}
      {value?.total && value.total > connections.length ? (
        <p className="quiet">{t("shownOf", { shown: connections.length, total: value.total })}</p>
      ) : null}
      {connections.length ? (
        <ConnectionRows connections={connections} onOpen={setOpened} />
      ) : (
        <p className="quiet">{value ? t("noConnections") : t("loading")}</p>
      )}
      {opened === undefined ? null : <StreamDialog key={opened} id={opened} onClose={() => setOpened(undefined)} />}
    </Panel>
  );
}

function FindStream({ onFind }: { readonly onFind: (id: string) => void }): ReactNode {
  const t = useTranslate(texts);
  const id = useId();
  const [text, setText] = useState("");
  return (
    <form
      className="find"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim()) onFind(text.trim());
      }}
    >
      <label htmlFor={id}>{t("findStream")}</label>
      <input
        id={id}
        value={text}
        spellCheck={false}
        autoComplete="off"
        onChange={(event) => setText(event.target.value)}
      />
      <Button type="submit">{t("findButton")}</Button>
    </form>
  );
}

interface ConnectionRowsProps {
  readonly connections: readonly Connection[];
  readonly onOpen?: (id: string) => void;
}

export function ConnectionRows({ connections, onOpen }: ConnectionRowsProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const heads = [
    ...(onOpen ? [t("stream")] : []),
    t("client"),
    t("dialect"),
    t("sinceHead"),
    { number: t("chunksHead") },
    { number: t("bytesHead") },
    { number: t("latencyHead") },
    { number: t("lag") },
    { number: t("roundTripHead") },
    { number: t("sentAgainHead") },
    ...(onOpen ? [t("details")] : []),
  ];
  return (
    <Rows label={t("connections")} heads={heads}>
      {connections.map((one) => (
        <tr key={one.id} data-testid="connection">
          {onOpen ? (
            <th scope="row">
              <code>{one.streamId.slice(-12)}</code>
              <small>{one.model || one.provider || NOTHING}</small>
            </th>
          ) : null}
          <td className="client">
            {one.metadata.userAgent || NOTHING}
            <small>
              {[
                one.clientId,
                one.metadata.ip,
                ...(one.resumed ? [t("cameBack")] : []),
                ...(one.viewers === undefined ? [] : [t("carriedBy", { n: one.viewers })]),
              ]
                .filter(Boolean)
                .join(" · ")}
            </small>
          </td>
          <td>{one.dialect || NOTHING}</td>
          <td>{formatClock(one.metadata.connectedAt, language)}</td>
          <td className="number">{formatCount(one.metadata.chunksReceived, language)}</td>
          <td className="number">{formatSize(one.metadata.bytesReceived, language)}</td>
          <td className="number">{formatMs(one.metadata.averageLatency, language)}</td>
          <td className="number">{one.lag === undefined ? NOTHING : t("lagEvents", { n: one.lag })}</td>
          <td className="number">{formatMs(one.network?.rtt, language)}</td>
          <td className="number">{formatCount(one.network?.retransmissions, language)}</td>
          {onOpen ? (
            <td>
              <Button aria-label={t("openStream", { id: one.streamId })} onClick={() => onOpen(one.streamId)}>
                {t("details")}
              </Button>
            </td>
          ) : null}
        </tr>
      ))}
    </Rows>
  );
}
