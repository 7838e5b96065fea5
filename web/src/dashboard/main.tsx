import "../theme.css";
import "../ui/ui.css";
import "../settings/settings.css";
import "uplot/dist/uPlot.min.css";
import "./dashboard.css";
import { start } from "../ui/start";
import { Dashboard } from "./Dashboard";

start(<Dashboard />);
