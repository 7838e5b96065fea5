import { Check, Copy } from "lucide-react";
import { type ReactNode, useEffect, useState } from "react";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { IconButton } from "../ui/controls";
import { writeClipboard } from "../ui/clipboard";
import { useFail } from "../ui/useFail";

export function CopyButton({ text }: { readonly text: string }): ReactNode {
  const t = useTranslate(texts);
  const fail = useFail();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return undefined;
    const timer = setTimeout(() => setCopied(false), 1600);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async (): Promise<void> => {
    try {
      await writeClipboard(text);
      setCopied(true);
    } catch (error) {
      fail(error);
    }
  };
  return (
    <IconButton
      size="small"
      label={copied ? t("copied") : t("copy")}
      data-testid="copy-button"
      onClick={() => void copy()}
    >
      {copied ? <Check size={15} /> : <Copy size={15} />}
    </IconButton>
  );
}
