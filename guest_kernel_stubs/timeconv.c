/* Seconds since 1970 and the Gregorian calendar (kernel/time/time.c, kernel/time/timeconv.c). */
#include "stubs.h"

struct tm {
	int tm_sec, tm_min, tm_hour, tm_mday, tm_mon;
	long tm_year;
	int tm_wday, tm_yday;
};

enum { DAYS_PER_ERA = 146097, SECONDS_PER_DAY = 86400 };

static s64 floor_div(s64 a, s64 b)
{
	return a / b - (a % b < 0);
}

/* Out-of-range values count on: the 32nd of a month is the first of the next. */
s64 mktime64(const uint year0, const uint month0, const uint day, const uint hour, const uint min, const uint sec)
{
	/* A year that starts in March has its leap day at the end. */
	uint month = month0, year = year0;
	s64 days;

	if ((int)(month -= 2) <= 0) {
		month += 12;
		year--;
	}
	days = (s64)(year / 4 - year / 100 + year / 400 + 367 * month / 12 + day) + year * 365 - 719499;
	return ((days * 24 + hour) * 60 + min) * 60 + sec;
}

static bool is_leap(s64 year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

void time64_to_tm(s64 seconds, int offset, struct tm *tm)
{
	s64 days = floor_div(seconds, SECONDS_PER_DAY), era, year;
	int rest = seconds - days * SECONDS_PER_DAY + offset, day, of_era, march_month;

	days += floor_div(rest, SECONDS_PER_DAY);
	rest -= floor_div(rest, SECONDS_PER_DAY) * SECONDS_PER_DAY;
	tm->tm_hour = rest / 3600;
	tm->tm_min = rest / 60 % 60;
	tm->tm_sec = rest % 60;
	tm->tm_wday = (days + 4) - floor_div(days + 4, 7) * 7;

	days += 719468; /* since the first of March of the year 0 */
	era = floor_div(days, DAYS_PER_ERA);
	day = days - era * DAYS_PER_ERA;
	of_era = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * of_era + of_era / 4 - of_era / 100;
	march_month = (5 * day + 2) / 153;
	tm->tm_mday = day - (153 * march_month + 2) / 5 + 1;
	tm->tm_mon = (march_month + 2) % 12;
	year = era * 400 + of_era + (march_month >= 10);
	tm->tm_year = year - 1900;
	tm->tm_yday = march_month >= 10 ? day - 306 : day + 59 + is_leap(year);
}
