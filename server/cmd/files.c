/* Walks folders into a list of paths.
 *
 * SPDX-License-Identifier: MIT */
#include "server/cmd/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Takes the path, also on failure. */
static bool append(struct files *files, char *path)
{
    if (path && files->n == files->room) {
        const size_t room = files->room ? 2 * files->room : 64;
        char **paths = reallocarray(files->paths, room, sizeof *paths);
        if (!paths) {
            free(path);
            return false;
        }
        files->paths = paths;
        files->room = room;
    }
    if (path)
        files->paths[files->n++] = path;
    return path != NULL;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return strcmp(path, "-") != 0 && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool add_child(struct files *files, const char *folder, const char *name)
{
    struct stat st;
    char *path = NULL;
    const char *slash = folder[strlen(folder) - 1] == '/' ? "" : "/";
    if (asprintf(&path, "%s%s%s", folder, slash, name) < 0)
        return false;
    const bool known = lstat(path, &st) == 0;
    if (known && S_ISREG(st.st_mode))
        return append(files, path);
    const bool ok = !known || !S_ISDIR(st.st_mode) || files_add(files, path);
    free(path);
    return ok;
}

bool files_add(struct files *files, const char *path)
{
    struct dirent **names;
    const int n = is_folder(path) ? scandir(path, &names, NULL, alphasort) : -1;
    if (n < 0)
        return append(files, strdup(path));
    bool ok = true;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (ok && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            ok = add_child(files, path, name);
        free(names[i]);
    }
    free(names);
    return ok;
}

void files_done(struct files *files)
{
    for (size_t i = 0; i < files->n; i++)
        free(files->paths[i]);
    free(files->paths);
}
