/* Calendar of real-time clocks (drivers/rtc/lib.c). */
#include "stubs.h"

struct rtc_time { int tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst; };
struct tm { int part[5]; long year; int wday, yday; };

s64 mktime64(uint year, uint month, uint day, uint hour, uint min, uint sec);
void time64_to_tm(s64 seconds, int offset, struct tm *tm);

static bool is_leap(uint year)
{
	return (!(year % 4) && year % 100) || !(year % 400);
}

/* month: 0 to 11. */
int rtc_month_days(uint month, uint year)
{
	static const u8 days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	return days[month] + (is_leap(year) && month == 1);
}

/* The day in its year, from 0. */
int rtc_year_days(uint day, uint month, uint year)
{
	int days = day - 1;

	while (month--)
		days += rtc_month_days(month, year);
	return days;
}

int rtc_valid_tm(struct rtc_time *tm)
{
	if (tm->tm_year < 70 || tm->tm_year > INT_MAX - 1900 || (uint)tm->tm_mon >= 12 || tm->tm_mday < 1 ||
	    tm->tm_mday > rtc_month_days(tm->tm_mon, (uint)tm->tm_year + 1900) || (uint)tm->tm_hour >= 24 ||
	    (uint)tm->tm_min >= 60 || (uint)tm->tm_sec >= 60)
		return -EINVAL;
	return 0;
}

void rtc_time64_to_tm(s64 seconds, struct rtc_time *out)
{
	struct tm tm;

	time64_to_tm(seconds, 0, &tm);
	*out = (struct rtc_time){
		.tm_sec = tm.part[0], .tm_min = tm.part[1], .tm_hour = tm.part[2], .tm_mday = tm.part[3],
		.tm_mon = tm.part[4], .tm_year = tm.year, .tm_wday = tm.wday, .tm_yday = tm.yday,
	};
}

s64 rtc_tm_to_time64(struct rtc_time *tm)
{
	return mktime64((uint)tm->tm_year + 1900, tm->tm_mon + 1, tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec);
}

s64 rtc_tm_to_ktime(struct rtc_time tm)
{
	s64 seconds = rtc_tm_to_time64(&tm);

	return seconds >= S64_MAX / 1000000000 ? S64_MAX : seconds * 1000000000;
}

/* Part of a second counts as the next one. */
struct rtc_time rtc_ktime_to_tm(s64 kt)
{
	struct rtc_time tm;

	rtc_time64_to_tm(kt / 1000000000 - (kt % 1000000000 < 0) + (kt % 1000000000 != 0), &tm);
	return tm;
}
