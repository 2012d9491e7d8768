"""A C program in ring 3 that talks to the sample `genetlink`, built as any program is."""

from kmod_emu import Kernel, samples
from kmod_emu.user.execute import STDOUT, put_file
from tests.user.conftest import needs_gcc

ASK = r"""
#include <errno.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[8192];
static int fd;

static struct nlattr *attribute(struct nlmsghdr *nlh, int type, const void *data, int size)
{
  struct nlattr *nla = (void *)((char *)nlh + NLMSG_ALIGN(nlh->nlmsg_len));
  nla->nla_type = type; nla->nla_len = NLA_HDRLEN + size;
  memcpy((char *)nla + NLA_HDRLEN, data, size);
  nlh->nlmsg_len = NLMSG_ALIGN(nlh->nlmsg_len) + NLA_ALIGN(nla->nla_len);
  return nla;
}

static struct nlmsghdr *request(int family, int cmd, int flags)
{
  struct nlmsghdr *nlh = (void *)buffer;
  struct genlmsghdr *genl = NLMSG_DATA(nlh);
  memset(buffer, 0, sizeof buffer);
  nlh->nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
  nlh->nlmsg_type = family; nlh->nlmsg_flags = NLM_F_REQUEST | flags;
  genl->cmd = cmd; genl->version = 1;
  return nlh;
}

static int ask(struct nlmsghdr *nlh)
{
  struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
  struct iovec vector = { nlh, nlh->nlmsg_len };
  struct msghdr message = { &kernel, sizeof kernel, &vector, 1 };
  struct pollfd ready = { fd, POLLIN };
  if (sendmsg(fd, &message, 0) < 0) { perror("sendmsg"); return -1; }
  if (poll(&ready, 1, 1000) != 1) puts("nothing came");
  return recv(fd, buffer, sizeof buffer, 0);
}

static int number_of(const char *name)
{
  struct nlmsghdr *nlh = request(GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 0);
  attribute(nlh, CTRL_ATTR_FAMILY_NAME, name, strlen(name) + 1);
  int left = ask(nlh) - NLMSG_LENGTH(GENL_HDRLEN);
  if (nlh->nlmsg_type == NLMSG_ERROR) return ((struct nlmsgerr *)NLMSG_DATA(nlh))->error;
  struct nlattr *nla = (void *)((char *)NLMSG_DATA(nlh) + GENL_HDRLEN);
  for (; left > 0; left -= NLA_ALIGN(nla->nla_len), nla = (void *)((char *)nla + NLA_ALIGN(nla->nla_len)))
    if (nla->nla_type == CTRL_ATTR_FAMILY_ID) return *(unsigned short *)((char *)nla + NLA_HDRLEN);
  return -1;
}

int main(void)
{
  struct sockaddr_nl own = { .nl_family = AF_NETLINK };
  socklen_t size = sizeof own;
  unsigned value = 42;
  fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
  if (fd < 0 || bind(fd, (void *)&own, sizeof own)) { perror("socket"); return 1; }
  getsockname(fd, (void *)&own, &size);
  printf("port id is pid: %d\n", own.nl_pid == (unsigned)getpid());
  printf("nobody: %s\n", strerror(-number_of("nobody")));
  int family = number_of("kmod_emu_demo");
  printf("family %d\n", family);
  struct nlmsghdr *nlh = request(family, 1, NLM_F_ACK);
  attribute(nlh, 1, "answer", 7); attribute(nlh, 2, &value, 4);
  ask(nlh);
  printf("set: %s\n", strerror(-((struct nlmsgerr *)NLMSG_DATA(nlh))->error));
  value = 4096;
  nlh = request(family, 1, NLM_F_ACK);
  attribute(nlh, 1, "answer", 7); attribute(nlh, 2, &value, 4);
  ask(nlh);
  printf("set: %s\n", strerror(-((struct nlmsgerr *)NLMSG_DATA(nlh))->error));
  nlh = request(family, 2, NLM_F_DUMP);
  int got = ask(nlh), count = 0;
  for (;;) {
    nlh = (void *)buffer;
    for (; NLMSG_OK(nlh, got) && nlh->nlmsg_type != NLMSG_DONE; nlh = NLMSG_NEXT(nlh, got)) count++;
    if (NLMSG_OK(nlh, got)) break;
    got = recv(fd, buffer, sizeof buffer, 0);
  }
  printf("%d listed\n", count);
  printf("internet: %s\n", socket(AF_INET, SOCK_STREAM, 0) < 0 ? strerror(errno) : "there");
  return 0;
}
"""


@needs_gcc
def test_a_program_asks_the_family(compile_c):
    kernel = Kernel()
    kernel.insmod(samples.path("genetlink"))
    put_file(kernel, "/ask", compile_c(ASK, "-static"))
    result = kernel.userland.execute("/ask", ["ask"], stderr=STDOUT, time_limit=60)
    assert result.stdout.decode().splitlines() == [
        "port id is pid: 1",
        "nobody: No such file or directory",
        "family 19",
        "set: Success",
        "set: Numerical result out of range",
        "1 listed",
        "internet: Address family not supported by protocol",
    ]
    assert kernel.dmesg()[-1] == "genetlink: a dump ends after 1 entries"
    kernel.rmmod("genetlink")
