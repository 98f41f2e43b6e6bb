# Goodput against offered load as SVG: a line per file, in the file's name; column 2 is what was
# offered a second, column 3 what came in time. The dashed line is "all of it".
#   awk -F'\t' -v title=TEXT [-v arrivals=TEXT] -f tests/load/plot.awk NAME.tsv... >X.svg
# SPDX-License-Identifier: MIT
{ name = FILENAME; sub(/.*\//, "", name); sub(/\.tsv$/, "", name)
  if (!(name in n)) order[++files] = name
  x[name, ++n[name]] = $2; y[name, n[name]] = $3
  if ($2 > right) right = $2
  if ($3 > top) top = $3 }
function px(v) { return 60 + 500 * v / right }
function py(v) { return 320 - 280 * v / (top * 1.15) }
END {
    step = 10 ^ int(log(right / 2) / log(10)); if (right / step < 4) step /= 2
    print "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 680 380\" font-family=\"sans-serif\" font-size=\"12\">"
    print "<rect width=\"680\" height=\"380\" fill=\"white\"/>"
    printf "<text x=\"60\" y=\"20\" font-size=\"14\">%s</text>\n", title
    for (v = 0; v <= right; v += step)
        printf "<text x=\"%.1f\" y=\"338\" text-anchor=\"middle\">%g</text><path d=\"M%.1f 320V40\" stroke=\"#ddd\"/>\n", px(v), v, px(v)
    for (v = 0; v <= top * 1.15; v += step / 2)
        printf "<text x=\"54\" y=\"%.1f\" text-anchor=\"end\">%g</text><path d=\"M60 %.1fH560\" stroke=\"#ddd\"/>\n", py(v) + 4, v, py(v)
    printf "<text x=\"310\" y=\"362\" text-anchor=\"middle\">offered, requests per second (%s)</text>\n", arrivals ? arrivals : "Poisson"
    limit = right < top * 1.15 ? right : top * 1.15
    printf "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#888\" stroke-dasharray=\"4 4\"/>\n", px(0), py(0), px(limit), py(limit)
    split("#1f77b4 #d62728 #2ca02c #9467bd", colours, " ")
    for (f = 1; f <= files; f++) {
        name = order[f]; path = "M" px(0) " " py(0)
        for (i = 1; i <= n[name]; i++) path = path sprintf("L%.1f %.1f", px(x[name, i]), py(y[name, i]))
        printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>\n", path, colours[f]
        for (i = 1; i <= n[name]; i++)
            printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n", px(x[name, i]), py(y[name, i]), colours[f]
        label = py(y[name, n[name]]) + 4
        if (f > 1 && label - last < 13 && last - label < 13) label = last - 13
        last = label
        printf "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>\n", px(x[name, n[name]]) + 8, label, colours[f], name
    }
    print "</svg>"
}
