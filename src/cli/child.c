/* SPDX-License-Identifier: Apache-2.0 */
/* child.c: a COMMAND that runs beside the loop (loop.h): watch --exec, lock NAME -- COMMAND. */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: become the command, or tell why not through `report_fd`. */
static _Noreturn void become(const struct cli_loop *loop, pid_t parent, char *const *command,
                             char *const *environment, int input_fd, int report_fd)
{
    (void)sigprocmask(SIG_SETMASK, &loop->mask_before, NULL);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    bool ready = getppid() == parent; /* else it died before the line above */
    if (ready && input_fd >= 0) {
        ready = dup2(input_fd, STDIN_FILENO) >= 0;
    }
    for (size_t i = 0; ready && environment[i] != NULL; i++) {
        ready = putenv(environment[i]) == 0;
    }
    if (ready) {
        (void)execvp(command[0], command);
    }
    int why = errno;
    ssize_t written = write(report_fd, &why, sizeof(why));
    UNUSED(written);
    _exit(127);
}

bool cli_child_start(struct cli_loop *loop, char *const *command, char *const *environment,
                     int input_fd)
{
    ASSERT(loop->child == 0);
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0) {
        fprintf(stderr, "holdfastctl: pipe: %s\n", strerror(errno));
        return false;
    }
    (void)fflush(stdout);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        become(loop, parent, command, environment, input_fd, report[1]);
    }
    int why = pid < 0 ? errno : 0;
    (void)close(report[1]);
    /* Ends as soon as the command runs: the other side is closed by exec. */
    ssize_t count = pid < 0 ? 0 : read(report[0], &why, sizeof(why));
    UNUSED(count);
    (void)close(report[0]);
    if (why != 0) {
        fprintf(stderr, "holdfastctl: %s: %s\n", command[0], strerror(why));
        if (pid > 0) {
            (void)waitpid(pid, NULL, 0);
        }
        return false;
    }
    loop->child = pid;
    return true;
}

int cli_child_code(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}
