@faults @containers @gate
Feature: Rolling back while the clock of an instance is wrong

  One of the instances to which users are sent back lives a minute and a half in the future. It is no program of Go, which
  asks the kernel itself: only what calls libc can be told another time.

  Background:
    Given the service "stall"
    And 40 journeys per second by 20 users

  Scenario: Users are sent back to an instance that is ahead of its time
    When release "v2-misprints-green" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    And the clock of stall-1 is 90 seconds ahead while it is rolled back
    Then service is restored within 5 minutes
