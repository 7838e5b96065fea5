/** One chart over time on a canvas, with what it shows also as words and as a table. */

import { type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import uPlot from "uplot";
import { type Language, useLanguage, useTranslate } from "../i18n";
import { useMedia } from "../ui/hooks";
import { formatClock } from "./format";
import { texts } from "./texts";

export interface Line {
  readonly name: string;
  readonly values: readonly (number | null)[];
}

interface ChartProps {
  readonly title: string;
  readonly hint?: string | undefined;
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null, language: Language) => string;
  /** A horizontal line that the values should stay below. */
  readonly target?: number | undefined;
}

const HEIGHT = 180;
const DASHES = [[], [6, 3], [2, 3], [8, 3, 2, 3]];

export function Chart({ title, hint, times, lines, format, target }: ChartProps): ReactNode {
  const t = useTranslate(texts);
  const language = useLanguage();
  const [shown, setShown] = useState<number | null>(null);
  const at = shown ?? newestOf(lines);
  const values = lines.map(
    (line) => `${line.name} ${format(at === null ? null : (line.values[at] ?? null), language)}`,
  );
  const spoken =
    newestOf(lines) === null ? t("chartEmpty", { title }) : t("chartLabel", { title, values: values.join(", ") });
  const goal = target === undefined ? "" : t("withTarget", { target: format(target, language) });
  return (
    <figure className="chart">
      <figcaption>
        <h3>{title}</h3>
        {hint ? <small>{hint}</small> : null}
        <ul className="legend" aria-hidden="true">
          {lines.map((line, number) => (
            <li key={line.name} className={`series-${number + 1}`}>
              <i />
              {values[number]}
            </li>
          ))}
          {target === undefined ? null : (
            <li className="goal">
              <i />
              {t("target")} {format(target, language)}
            </li>
          )}
        </ul>
      </figcaption>
      <div role="img" aria-label={`${spoken} ${goal}`.trim()}>
        <Canvas times={times} lines={lines} format={format} target={target} language={language} onShow={setShown} />
      </div>
      <details>
        <summary>{t("asTable")}</summary>
        <Table title={title} times={times} lines={lines} format={format} language={language} />
      </details>
    </figure>
  );
}

/** The last place where any line has a value. */
function newestOf(lines: readonly Line[]): number | null {
  const places = lines.map((line) => line.values.findLastIndex((value) => value !== null));
  const newest = Math.max(-1, ...places);
  return newest < 0 ? null : newest;
}

interface CanvasProps {
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly format: (value: number | null, language: Language) => string;
  readonly target: number | undefined;
  readonly language: Language;
  readonly onShow: (place: number | null) => void;
}

function Canvas({ times, lines, format, target, language, onShow }: CanvasProps): ReactNode {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const scheme = useScheme();
  const names = lines.map((line) => line.name).join("\n");
  const data = useMemo(
    () => [[...times], ...lines.map((line) => [...line.values])] as uPlot.AlignedData,
    [times, lines],
  );
  const newest = useRef(data);
  newest.current = data;
  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const options = optionsOf({
      count: names.split("\n").length,
      width: element.clientWidth,
      format,
      target,
      language,
      onShow,
    });
    const made = new uPlot(options, newest.current, element);
    plot.current = made;
    const watched = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    watched.observe(element);
    return () => {
      watched.disconnect();
      made.destroy();
      plot.current = undefined;
    };
  }, [names, format, target, language, onShow, scheme]);
  useEffect(() => plot.current?.setData(data), [data]);
  return <div ref={place} className="canvas" aria-hidden="true" />;
}

/** Changes when the colours do: a canvas does not follow the theme by itself. */
function useScheme(): string {
  const dark = useMedia("(prefers-color-scheme: dark)");
  const [chosen, setChosen] = useState(document.documentElement.dataset["theme"] ?? "");
  useEffect(() => {
    const watched = new MutationObserver(() => setChosen(document.documentElement.dataset["theme"] ?? ""));
    watched.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => watched.disconnect();
  }, []);
  return `${dark} ${chosen}`;
}

interface Looks {
  readonly count: number;
  readonly width: number;
  readonly format: (value: number | null, language: Language) => string;
  readonly target: number | undefined;
  readonly language: Language;
  readonly onShow: (place: number | null) => void;
}

function optionsOf({ count, width, format, target, language, onShow }: Looks): uPlot.Options {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  const font = `11px ${style.getPropertyValue("--font-sans").trim()}`;
  const axis = { stroke: colour("--text-muted"), font, ticks: { show: false } };
  const grid = { stroke: colour("--border"), width: 1 };
  return {
    width,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    scales: {
      y: { range: (_plot, _least, most) => [0, Math.max(most ?? 0, target ?? 0, Number.MIN_VALUE) * 1.1] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        size: 28,
        space: 64,
        values: (_plot, at) => at.map((s) => formatClock(s * 1000, language, false)),
      },
      { ...axis, grid, size: 64, space: 34, values: (_plot, at) => at.map((value) => format(value, language)) },
    ],
    series: [
      {},
      ...Array.from({ length: count }, (_, number) => ({
        stroke: colour(`--series-${number + 1}`),
        width: 2,
        dash: DASHES[number] ?? [],
        spanGaps: false,
        points: { show: true, size: 4 }, // a lone value has no line
      })),
    ],
    hooks: {
      setCursor: [(plot) => onShow(plot.cursor.idx ?? null)],
      draw: target === undefined ? [] : [(plot) => drawTarget(plot, target, colour("--danger"))],
    },
  };
}

function drawTarget(plot: uPlot, target: number, colour: string): void {
  const { ctx, bbox } = plot;
  const y = Math.round(plot.valToPos(target, "y", true));
  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([4 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

type TableProps = Pick<ChartProps, "title" | "times" | "lines" | "format"> & { readonly language: Language };

function Table({ title, times, lines, format, language }: TableProps): ReactNode {
  const t = useTranslate(texts);
  const measured = times
    .map((time, place) => ({ time, place }))
    .filter(({ place }) => lines.some((line) => (line.values[place] ?? null) !== null))
    .reverse();
  return (
    <div className="scroller" role="group" aria-label={title} tabIndex={0}>
      <table>
        <caption className="visually-hidden">{title}</caption>
        <thead>
          <tr>
            <th scope="col">{t("time")}</th>
            {lines.map((line) => (
              <th scope="col" key={line.name} className="number">
                {line.name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {measured.map(({ time, place }) => (
            <tr key={time}>
              <th scope="row">{formatClock(time * 1000, language, false)}</th>
              {lines.map((line) => (
                <td key={line.name} className="number">
                  {format(line.values[place] ?? null, language)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
