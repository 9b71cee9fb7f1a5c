/** The thread of one program that a user explores. */
import { serveProgram } from "../src/engines/explore/program/program-thread.ts";

serveProgram();
