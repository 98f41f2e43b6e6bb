/* The zygote and the helpers: processes that share nothing with the daemon but the slots.
 *
 * One thread each. A helper reads the order in its slot, makes the pixels and says so; the zygote
 * waits for children and commands and never looks at an upload.
 *
 * SPDX-License-Identifier: MIT */
#include "server/sandbox_internal.h"

#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL_FD 0
/* Images above this leave a heap behind that is not worth keeping. */
#define TRIM_PIXELS ((size_t)4 << 20)

#ifdef SANITIZED
#define LAST_KEPT_FD STDERR_FILENO /* for reports */
#else
#define LAST_KEPT_FD 0
#endif

struct child {
    int socket; /* the helper's end */
    pid_t pid;  /* 0 while there is none */
};

struct zygote {
    struct sandbox_setup setup;
    struct sandbox_layout layout;
    int memory;
    int signals; /* signalfd for SIGCHLD */
    struct child *children;
};

static bool say(int socket, enum sandbox_message_kind kind, int value, uint64_t run)
{
    const struct sandbox_message message = {kind, value, run};
    return write(socket, &message, sizeof message) == (ssize_t)sizeof message;
}

/* ---- a helper -------------------------------------------------------------------------------- */

static _Noreturn void help(uint8_t *memory, const struct sandbox_layout *layout, size_t max_file)
{
    struct sandbox_slot *slot = (struct sandbox_slot *)(void *)memory;
    struct sandbox_message message;
    while (read(CONTROL_FD, &message, sizeof message) == (ssize_t)sizeof message) {
        const size_t n = slot->n_bytes <= max_file ? slot->n_bytes : max_file;
        pixels_make(&slot->order, memory + layout->file_at, n, &slot->result,
                    memory + layout->rgb_at);
        const struct rn_image_info *info = &slot->result.info;
        if (slot->result.has_info && (size_t)info->width * (size_t)info->height > TRIM_PIXELS)
            (void)malloc_trim(0);
        if (!say(CONTROL_FD, SANDBOX_RAN, 0, message.run))
            break;
    }
    _exit(0);
}

/* In the new process: keeps its slot and its socket, gives up everything else. */
static _Noreturn void become_helper(const struct zygote *z, int i, pid_t parent)
{
    const struct sandbox_layout *layout = &z->layout;
    uint8_t *memory = mmap(NULL, layout->slot_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, z->memory,
                           (off_t)((size_t)i * layout->slot_bytes));
    if (memory == MAP_FAILED || dup2(z->children[i].socket, CONTROL_FD) < 0 ||
        close_range(LAST_KEPT_FD + 1, ~0u, 0) != 0)
        _exit(1);
    (void)prctl(PR_SET_NAME, "resnetd-decode");
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it had died before it could be asked to tell */
        _exit(1);
    free(z->children);
    const bool filtered = sandbox_confine(z->setup.max_memory);
    if (!say(CONTROL_FD, SANDBOX_READY, filtered, 0))
        _exit(1);
    help(memory, layout, z->setup.max_file_bytes);
}

/* ---- the zygote ------------------------------------------------------------------------------ */

static void start_helper(struct zygote *z, int i)
{
    struct child *child = &z->children[i];
    const pid_t self = getpid(), pid = fork();
    if (pid == 0)
        become_helper(z, i, self);
    if (pid < 0) {
        (void)say(child->socket, SANDBOX_DIED, 0, 0);
        return;
    }
    child->pid = pid;
    (void)say(child->socket, SANDBOX_BORN, pid, 0);
}

/* Orders that the dead one has not read are lost with it. */
static void drop_orders(int socket)
{
    struct sandbox_message message;
    while (recv(socket, &message, sizeof message, MSG_DONTWAIT) > 0)
        ;
}

static void reap(struct zygote *z)
{
    struct signalfd_siginfo info;
    (void)!read(z->signals, &info, sizeof info);
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int i = 0; i < z->setup.n_slots; i++)
            if (z->children[i].pid == pid) {
                const int socket = z->children[i].socket;
                z->children[i].pid = 0;
                drop_orders(socket);
                /* One that exits has given up itself, as a sanitizer does. */
                (void)say(socket, SANDBOX_DIED, WIFSIGNALED(status) ? WTERMSIG(status) : SIGABRT,
                          0);
                start_helper(z, i);
            }
}

/* Reads n bytes from the control socket and the descriptor that may come along, -1 without; false
 * when the daemon is gone. */
static bool receive(void *data, size_t n, int *fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {data, n};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    *fd = -1;
    if (recvmsg(CONTROL_FD, &message, MSG_CMSG_CLOEXEC) != (ssize_t)n)
        return false;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return true;
}

static bool obey(struct zygote *z)
{
    struct sandbox_command command;
    int socket;
    if (!receive(&command, sizeof command, &socket) || command.slot < 0 ||
        command.slot >= z->setup.n_slots)
        return false;
    struct child *child = &z->children[command.slot];
    if (socket >= 0) {
        child->socket = socket;
        start_helper(z, command.slot);
    } else if (child->pid > 0) {
        (void)kill(child->pid, SIGKILL);
    }
    return true;
}

/* What is sent to the whole group or to every process of a service is for the daemon, which lets
 * its helpers finish what it has accepted. */
static void ignore_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)signal(numbers[i], SIG_IGN);
}

static bool set_up(struct zygote *z)
{
    if (!receive(&z->setup, sizeof z->setup, &z->memory) || z->memory < 0 || z->setup.n_slots < 1)
        return false;
    z->layout = sandbox_layout(z->setup.max_file_bytes);
    z->children = calloc((size_t)z->setup.n_slots, sizeof *z->children);
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGCHLD);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    z->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return z->children && z->signals >= 0;
}

int sandbox_zygote(void)
{
    struct zygote z = {0};
    ignore_signals();
    (void)prctl(PR_SET_NAME, "resnetd-zygote"); /* for ps; it would be "exe" */
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_DUMPABLE, 0);
    if (!set_up(&z))
        return 1;
    struct pollfd fds[] = {{.fd = CONTROL_FD, .events = POLLIN},
                           {.fd = z.signals, .events = POLLIN}};
    do {
        while (poll(fds, 2, -1) < 0)
            ;
        if (fds[1].revents)
            reap(&z);
    } while (!fds[0].revents || obey(&z));
    free(z.children); /* the daemon is gone; helpers die with their parent */
    return 0;
}
