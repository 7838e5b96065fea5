import { dictionary } from "../i18n";

export const TEXTS = dictionary(
  {
    copy: "Copy",
    copied: "Copied",
    copyFailed: "Could not copy",
    copyCode: "Copy code",
    code: "Code",
    codeIn: "Code, {language}",
    table: "Table",
    math: "Formula",
    done: "Done",
    notDone: "Not done",
    source: "Source {n}",
    footnote: "Footnote {label}",
    image: "Image: {alt}",
  },
  {
    copy: "Copier",
    copied: "Copié",
    copyFailed: "Copie impossible",
    copyCode: "Copier le code",
    code: "Code",
    codeIn: "Code, {language}",
    table: "Tableau",
    math: "Formule",
    done: "Fait",
    notDone: "À faire",
    source: "Source {n}",
    footnote: "Note {label}",
    image: "Image : {alt}",
  },
);
