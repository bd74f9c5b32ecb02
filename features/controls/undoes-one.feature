@control @kubernetes @gate
Feature: Control: one change is undone where two were made

  The revision of before is the bad release without what was to mend it. Undo brings that one back and reports
  success.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The pods are of the first of two bad revisions
    When release "v2-mended-in-haste" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "undoes-one"
    Then the drill fails because "every instance serves the target release"
