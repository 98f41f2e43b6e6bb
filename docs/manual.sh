#!/bin/bash
# Prints the manual page with what the program itself says of its options (--help) where the page
# has a line
#   .\" options of COMMAND
# so that they need not be written twice. Everything else is written by hand.
#   docs/manual.sh BINARY PAGE
# SPDX-License-Identifier: MIT
set -euo pipefail
binary=$1
page=$2

# An option's line has two spaces, its name and value, and its text, which more lines may continue.
options_of() {
    "$binary" "$1" --help | awk '
        function flush() {
            if (name == "") return
            print ".It " name
            n = split(text, words, " ")
            line = ""
            for (i = 1; i <= n; i++) {
                if (line != "" && length(line) + 1 + length(words[i]) > 74) { put(line); line = "" }
                line = line (line == "" ? "" : " ") words[i]
            }
            put(line)
            name = text = ""
        }
        function put(line) { # a control character in front would make it a request
            gsub(/\\/, "\\e", line)
            print (line ~ /^[.\x27]/ ? "\\&" : "") line
        }
        /^  --/ {
            flush()
            name = "Fl Fl " substr($1, 3)
            if ($2 ~ /^[A-Z]/ && $2 !~ /[a-z]/) { # a value, not a word
                name = name " Ar " $2
                $2 = ""
            }
            $1 = ""
            text = $0
            next
        }
        /^    / && name != "" { text = text " " $0; next }
        { flush() }
        END { flush() }'
}

while IFS= read -r line; do
    printf '%s\n' "$line"
    case $line in
    '.\" options of '*)
        echo '.Bl -tag -width Ds'
        options_of "${line##* }"
        echo .El
        ;;
    esac
done <"$page"
