@control @together @gate
Feature: Control: the code goes back before what it cannot cope with

  The code is quickly deployed, so it comes first. Until the flag is off, diner of before meets prices of cafe's that it cannot cope
  with, which service.yaml forbids.

  Background:
    Given the service "diner"
    And 40 journeys per second by 20 users

  Scenario: The code is rolled back before the flag
    When release "v2-tables" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "code-first"
    Then the drill fails because "no forbidden mix of releases serves"
