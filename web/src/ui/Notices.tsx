import { X } from "lucide-react";
import type { ReactNode } from "react";
import { useStore } from "zustand";
import { useTranslate } from "../i18n";
import { texts } from "../i18n/texts";
import { dismiss, notices } from "../store/notices";
import { Button, IconButton } from "./controls";

export function Notices(): ReactNode {
  const t = useTranslate(texts);
  const shown = useStore(notices, (state) => state.notices);
  return (
    <div className="notices" role="status">
      {shown.map((notice) => (
        <div key={notice.id} className={`notice ${notice.tone}`}>
          <span>{notice.text}</span>
          {notice.action ? (
            <Button
              onClick={() => {
                notice.action?.run();
                dismiss(notice.id);
              }}
            >
              {notice.action.label}
            </Button>
          ) : null}
          <IconButton size="small" label={t("dismiss")} onClick={() => dismiss(notice.id)}>
            <X size={14} />
          </IconButton>
        </div>
      ))}
    </div>
  );
}
