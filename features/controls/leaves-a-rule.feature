@control @flags @gate
Feature: Control: a flag that is off but for one instance

  The flag server says that the flag is off. A rule that somebody made to try it on one instance is older, and stays: that
  instance does not obey.

  Background:
    Given the service "cafe"
    And 40 journeys per second by 20 users

  Scenario: One instance does not obey
    When release "v2-happy-hour" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "leaves-a-rule"
    Then the drill fails because "every instance serves the target release"
