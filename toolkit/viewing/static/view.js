"use strict";
// What htmx brings in place of the rows is shown to those who do not see it by the line with role="status"; nothing else is needed here.
