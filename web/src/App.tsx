import { type ReactNode, type RefObject, Suspense, useEffect, useMemo, useRef } from "react";
import { useStore } from "zustand";
import { keyStore } from "./api/key";
import { call, noteFailure } from "./api/server";
import { Announcer } from "./chat/Announcer";
import { ChatPage } from "./chat/ChatPage";
import { JUMP } from "./chat/events";
import type { ComposerHandle } from "./composer/Composer";
import { useTranslate } from "./i18n";
import { texts } from "./i18n/texts";
import { preferences, setPreferences, watchOtherTabs } from "./settings/preferences";
import { type Actions, useShortcuts } from "./settings/shortcuts";
import { Sidebar } from "./sidebar/Sidebar";
import { shown } from "./sidebar/ThreadList";
import { liveIn } from "./store/answers";
import { stopThread } from "./store/asking";
import { currentPlace, goTo, usePlace } from "./store/navigation";
import { closeDialog, closeSources, openDialog, panels, setDrawer } from "./store/panels";
import { startSync } from "./store/sync";
import { threadList } from "./store/threads";
import { Dialog } from "./ui/Dialog";
import { lazily } from "./ui/lazily";
import { MissingPart } from "./ui/Missing";
import { NARROW, useMedia } from "./ui/hooks";
import { Notices } from "./ui/Notices";
import "./ui/ui.css";

const SettingsDialog = lazily(async () => (await import("./settings/SettingsDialog")).SettingsDialog, MissingPart);
const HelpDialog = lazily(async () => (await import("./settings/HelpDialog")).HelpDialog, MissingPart);
const KeyDialog = lazily(async () => (await import("./settings/KeyDialog")).KeyDialog, MissingPart);
const SourcesPanel = lazily(async () => (await import("./sources/SourcesPanel")).SourcesPanel, MissingPart);

export function App(): ReactNode {
  const t = useTranslate(texts);
  const place = usePlace();
  const narrow = useMedia(NARROW);
  const sidebar = useStore(preferences, (state) => state.sidebar);
  const { dialog, drawer, sources } = useStore(panels);
  const keyAsked = useStore(keyStore, (state) => state.asked);
  const composer = useRef<ComposerHandle>(null);
  const search = useRef<HTMLInputElement>(null);

  useEffect(() => {
    void call("GET", "/v1/me").catch(noteFailure);
    const stops = [watchOtherTabs(), startSync()];
    return () => {
      for (const stop of stops) stop();
    };
  }, []);
  useEffect(() => closeSources(), [place.thread]);
  const actions = useActions(narrow, composer, search);
  useShortcuts(actions, !keyAsked && dialog === undefined);

  return (
    <div className={sidebar && !narrow ? "app with-sidebar" : "app"}>
      <a
        className="skip"
        href="#chat-input"
        onClick={(event) => {
          event.preventDefault(); // the address tells the conversation
          composer.current?.focus();
        }}
      >
        {t("skip")}
      </a>
      {narrow || !sidebar ? null : <Sidebar searchRef={search} onClose={() => setPreferences({ sidebar: false })} />}
      {narrow && drawer ? (
        <Dialog title={t("chats")} bare className="drawer" onClose={() => setDrawer(false)}>
          <Sidebar searchRef={search} onClose={() => setDrawer(false)} />
        </Dialog>
      ) : null}
      <ChatPage place={place} narrow={narrow} sidebar={sidebar} composer={composer} />
      <Suspense fallback={null}>
        {sources ? <SourcesPanel onClose={closeSources} /> : null}
        {dialog === "settings" ? <SettingsDialog onClose={closeDialog} /> : null}
        {dialog === "help" ? <HelpDialog onClose={closeDialog} /> : null}
        {keyAsked ? <KeyDialog /> : null}
      </Suspense>
      <Notices />
      <Announcer thread={place.thread} />
    </div>
  );
}

function useActions(
  narrow: boolean,
  composer: RefObject<ComposerHandle | null>,
  search: RefObject<HTMLInputElement | null>,
): Actions {
  return useMemo(() => {
    const showSidebar = (open: boolean): void => (narrow ? setDrawer(open) : setPreferences({ sidebar: open }));
    const isShown = (): boolean => (narrow ? panels.getState().drawer : preferences.getState().sidebar);
    return {
      newChat: () => {
        goTo(undefined);
        composer.current?.focus();
      },
      search: () => {
        showSidebar(true);
        requestAnimationFrame(() => search.current?.focus());
      },
      sidebar: () => showSidebar(!isShown()),
      settings: () => openDialog("settings"),
      help: () => openDialog("help"),
      focus: () => composer.current?.focus(),
      jump: () => void dispatchEvent(new Event(JUMP)),
      next: () => goBeside(1),
      previous: () => goBeside(-1),
      stop: () => {
        const { thread } = currentPlace();
        if (panels.getState().sources) {
          closeSources();
          return true;
        }
        if (!thread || !liveIn(thread).length) return false;
        void stopThread(thread).catch(noteFailure);
        return true;
      },
    };
  }, [narrow, composer, search]);
}

function goBeside(step: number): boolean {
  const { threads, leaving } = threadList.getState();
  const open = currentPlace().thread;
  const listed = shown(threads, leaving, open);
  const at = listed.findIndex((thread) => thread.id === open);
  const beside = listed[at < 0 ? 0 : at + step];
  if (beside) goTo(beside.id);
  return beside !== undefined;
}
